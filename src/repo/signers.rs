//! What people check this server's signatures with: lines of OpenSSH's `allowed_signers`.

use crate::repo::replacement::PastKey;
use crate::vault::PublicKey;

/// Whom `ssh-keygen -Y verify -I` asks for.
pub(crate) const PRINCIPAL: &str = "tacdrop";

/// The lines for what was signed for `namespace`: of the key in force, and of those before it. What
/// one of these has signed is checked as of the time that the text states
/// (`ssh-keygen -O verify-time=...`).
pub(crate) fn allowed_signers(namespace: &str, key: &PublicKey, past: &[PastKey]) -> String {
    let mut lines = format!("{PRINCIPAL} namespaces=\"{namespace}\" {}", key.ssh_line());
    for PastKey { key, until } in past {
        // YYYYMMDDHHMMSSZ: RFC 3339 without what stands between.
        let until: String = until.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        let line = format!("\n{PRINCIPAL} namespaces=\"{namespace}\",valid-before=\"{until}Z\" {}", key.ssh_line());
        lines.push_str(&line);
    }
    lines
}
