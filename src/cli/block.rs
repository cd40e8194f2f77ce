//! The block that is pasted into a ticket system: where to send files to, as whom, and how, in the
//! customer's language.

use serde::Serialize;

use super::devices::Devices;
use crate::app::{TicketEnd, TokenLine};
use crate::model::sanitize;
use crate::model::{Language, LastDay, Priority, TicketStatus, Time};

/// A ticket with all that its customer needs, for people and programs.
#[derive(Serialize)]
pub(crate) struct TicketView<'a> {
    pub(crate) reference: String,
    /// As the ticket system writes it.
    pub(crate) shown: String,
    pub(crate) user: String,
    /// Only when it was made just now: nobody can show it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<&'a str>,
    /// What is known of it, if it is one of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_made: Option<&'a TokenLine>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) url: String,
    pub(crate) host_key_fingerprint: String,
    pub(crate) organisation: String,
    pub(crate) engineer: String,
    pub(crate) priority: Priority,
    pub(crate) status: TicketStatus,
    pub(crate) language: Language,
    pub(crate) title: Option<String>,
    pub(crate) opened_at: Time,
    /// Whether it can only send.
    pub(crate) device: bool,
    /// When it was closed, until when it can be read, and whether nothing of it is removed.
    #[serde(flatten)]
    pub(crate) end: TicketEnd,
    /// What kind of problem it is.
    pub(crate) kind: String,
    pub(crate) serial: Option<String>,
    pub(crate) deadline: Option<LastDay>,
    /// Of a device's ticket: what to type where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) devices: Option<Devices>,
}

/// The port that SFTP has by itself (RFC 4253, section 4.1).
const SSH_PORT: u16 = 22;

/// What a block says, in one language.
struct Words {
    heading: &'static str,
    closed: &'static str,
    until: [&'static str; 2],
    labels: [&'static str; 8],
    no_token: &'static str,
    put: &'static str,
    no_ports: &'static str,
    last: &'static str,
}

const ENGLISH: Words = Words {
    heading: "Files for ticket",
    closed: "This ticket is closed: its files can be read, and nothing can be sent.",
    until: ["They can be read until ", "; then they are removed."],
    labels: ["URL", "User", "Token", "Host key", "OpenSSH", "WinSCP", "FileZilla", "Router"],
    no_token: "is kept nowhere; for a new one: tacdrop ticket token",
    put: "then: put FILE, or put -r DIRECTORY; after a cut: reput FILE",
    no_ports: "(a device that knows no ports in URLs needs a computer in between)",
    last: "The token is the password. Compare the host key when you connect for the first time.\n\
           The engineer is told as soon as a file is complete.",
};

const GERMAN: Words = Words {
    heading: "Dateien für Ticket",
    closed: "Dieses Ticket ist geschlossen: Dateien können gelesen, aber nicht mehr gesendet werden.",
    until: ["Gelesen werden können sie bis ", "; danach werden sie entfernt."],
    labels: ["URL", "Benutzer", "Token", "Hostschlüssel", "OpenSSH", "WinSCP", "FileZilla", "Router"],
    no_token: "ist nirgends gespeichert; für ein neues: tacdrop ticket token",
    put: "dann: put DATEI oder put -r VERZEICHNIS; nach einem Abbruch: reput DATEI",
    no_ports: "(ein Gerät, das keine Ports in URLs kennt, braucht einen Rechner dazwischen)",
    last: "Das Token ist das Passwort. Vergleichen Sie beim ersten Verbinden den Hostschlüssel.\n\
           Der Support-Engineer erfährt es, sobald eine Datei vollständig ist.",
};

impl TicketView<'_> {
    /// What the desk says of it, in a few lines.
    pub(crate) fn facts(&self) -> String {
        let Self { priority, status, organisation, engineer, opened_at, kind, .. } = self;
        let devices = if self.device { ", for devices, which only send" } else { "" };
        let mut text = format!(
            "Priority {priority}, {status}, organisation {organisation}, engineer {engineer}, opened {opened_at}{devices}\n\
             Kind {kind}"
        );
        if let Some(serial) = &self.serial {
            text = text + ", serial number " + &sanitize::line(serial);
        }
        if let Some(deadline) = self.deadline {
            text += &format!(", to be solved by {deadline}");
        }
        if let Some(at) = self.end.held_at {
            let why =
                self.end.held_because.as_ref().map_or_else(String::new, |why| format!(" ({})", sanitize::line(why)));
            text += &format!("\nHeld since {at}{why}: nothing of it is removed.");
        }
        text
    }

    /// The block to paste.
    pub(crate) fn block(&self) -> String {
        let TicketView { reference, shown, user, url, port, .. } = self;
        let words = match self.language {
            Language::En => ENGLISH,
            Language::De => GERMAN,
        };
        // Clients want an IPv6 address in brackets wherever something may follow it.
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let (at, no_ports) = if *port == SSH_PORT {
            (host.clone(), String::new())
        } else {
            (format!("{host}:{port}"), format!("\n{}", words.no_ports))
        };
        let secret = self.token.unwrap_or("TOKEN");
        let values = [
            url.clone(),
            user.clone(),
            self.token.map_or_else(|| format!("{} {reference}", words.no_token), str::to_owned),
            self.host_key_fingerprint.clone(),
            format!("sftp -P {port} {user}@{host}\n{}", words.put),
            format!("winscp.exe {url}"),
            format!("filezilla --logontype=ask {url}"),
            format!("copy bootflash:FILE sftp://{user}:{secret}@{at}/FILE{no_ports}"),
        ];
        let width = words.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0) + 1;

        let mut block = format!("{} {}", words.heading, sanitize::line(shown));
        if let Some(title) = &self.title {
            block = block + ": " + &sanitize::line(title);
        }
        block.push_str("\n\n");
        if self.status == TicketStatus::Closed {
            block += words.closed;
            if let Some(until) = self.end.readable_until {
                let [before, behind] = words.until;
                block = block + "\n" + before + &until.to_the_minute() + behind;
            }
            block += "\n\n";
        }
        for (label, value) in words.labels.iter().zip(values) {
            let mut label = format!("{label}:");
            for line in value.lines() {
                block = block + &format!("{label:<width$}  {line}\n");
                label.clear();
            }
        }
        block = block + "\n" + words.last + "\n";
        match &self.devices {
            Some(devices) => block + "\n" + &devices.block(self.language),
            None => block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(language: Language, host: &str, port: u16) -> TicketView<'static> {
        TicketView {
            reference: "XT-4711".into(),
            shown: "XT-4711".into(),
            user: "XT-4711".into(),
            token: Some("abcDEF123"),
            token_made: None,
            host: host.into(),
            port,
            url: format!("sftp://XT-4711@{host}:{port}/"),
            host_key_fingerprint: "SHA256:fp".into(),
            organisation: "ACME".into(),
            engineer: "anna".into(),
            priority: Priority::MEDIUM,
            status: TicketStatus::Open,
            language,
            title: Some("Reboots\x1b[2J".into()),
            opened_at: Time::from_seconds(1_700_000_000),
            device: false,
            end: TicketEnd::default(),
            kind: "incident".into(),
            serial: None,
            deadline: None,
            devices: None,
        }
    }

    #[test]
    fn a_block_has_all_that_a_customer_needs_in_both_languages() {
        for language in [Language::De, Language::En] {
            let block = view(language, "drop.example.net", 2222).block();
            for part in [
                "sftp://XT-4711@drop.example.net:2222/",
                "abcDEF123",
                "SHA256:fp",
                "sftp -P 2222 XT-4711@drop.example.net\n",
                "winscp.exe sftp://XT-4711@drop.example.net:2222/\n",
                "filezilla --logontype=ask sftp://XT-4711@drop.example.net:2222/\n",
                "copy bootflash:FILE sftp://XT-4711:abcDEF123@drop.example.net:2222/FILE\n",
            ] {
                assert!(block.contains(part), "{part} is missing in:\n{block}");
            }
            assert!(!block.contains('\x1b'));
            assert!(block.lines().all(|line| line.chars().count() <= 100), "{block}");
        }
        assert!(view(Language::De, "h", 22).block().contains("Hostschlüssel"));
    }

    #[test]
    fn a_block_fits_its_ticket() {
        let mut ticket = view(Language::En, "::1", 22);
        ticket.token = None;
        (ticket.serial, ticket.deadline) = (Some("FDO1\x1b".into()), Some("2026-12-31".parse().unwrap()));
        let facts = ticket.facts();
        assert!(facts.ends_with("Kind incident, serial number FDO1\u{fffd}, to be solved by 2026-12-31"), "{facts}");
        ticket.status = TicketStatus::Closed;
        let block = ticket.block();
        assert!(block.contains("tacdrop ticket token XT-4711"), "{block}");
        assert!(block.contains("sftp -P 22 XT-4711@[::1]\n"));
        assert!(block.contains("sftp://XT-4711:TOKEN@[::1]/FILE"));
        assert!(block.contains("closed") && !block.contains("ports in URLs"));
        let json = serde_json::to_value(&ticket).unwrap();
        assert!(json.get("token").is_none() && json["status"] == "closed" && json["priority"] == 3);
        assert!(json["readable_until"].is_null() && !block.contains("removed"));
        ticket.end.readable_until = Some(Time::from_seconds(1_700_000_000));
        assert!(ticket.block().contains("\nThey can be read until 2023-11-14 22:13 UTC; then they are removed.\n\n"));
        ticket.language = Language::De;
        assert!(
            ticket
                .block()
                .contains("\nGelesen werden können sie bis 2023-11-14 22:13 UTC; danach werden sie entfernt.\n")
        );
    }
}
