//! The commands that send a file from a network device: ready to paste, one for each system.
//!
//! Most devices know only SCP, few can name a port, and some ask for the password instead of taking
//! it in the command. Where the listener has another port than 22, the command of a system that can
//! name none says so.

use serde::Serialize;

use crate::app::PublicAddress;
use crate::model::Language;

/// The port that devices use by themselves.
const SSH_PORT: u16 = 22;

/// How devices reach the server, and with which commands.
#[derive(Serialize)]
pub(crate) struct Devices {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether that is the listener with weak encryption.
    pub(crate) legacy: bool,
    /// None until a server has made that listener's host key.
    pub(crate) host_key_fingerprint: Option<String>,
    pub(crate) commands: Commands,
}

/// One command for each system.
#[derive(Serialize)]
pub(crate) struct Commands {
    ios: Command,
    nx_os: Command,
    junos: Command,
    eos: Command,
    pan_os: Command,
    fortios: Command,
    f5: Command,
    sr_os: Command,
}

/// A command for the people at a device.
#[derive(Serialize)]
struct Command {
    /// What to type. `NAME` is the file.
    command: String,
    /// `scp` or `sftp`.
    protocol: &'static str,
    /// Whether the device asks for the token instead of taking it in the command.
    asks_for_token: bool,
    /// Whether it cannot work because the device can name no port and the listener's is not 22.
    needs_port_22: bool,
}

impl Devices {
    /// Commands for a ticket's user. `token`: none if it is not known any more.
    pub(crate) fn new(
        address: PublicAddress,
        legacy: bool,
        host_key_fingerprint: Option<String>,
        user: &str,
        token: Option<&str>,
    ) -> Self {
        let PublicAddress { host, port } = address;
        let commands = Commands::new(&host, port, user, token.unwrap_or("TOKEN"));
        Self { host, port, legacy, host_key_fingerprint, commands }
    }

    /// The lines to paste, with what is to be known about them.
    pub(crate) fn block(&self, language: Language) -> String {
        let words = match language {
            Language::En => ENGLISH,
            Language::De => GERMAN,
        };
        let mut block = format!("{}\n", words.heading);
        if self.legacy {
            block = block + words.weak + "\n";
            if let Some(fingerprint) = &self.host_key_fingerprint {
                block = block + &format!("{} {fingerprint}\n", words.host_key);
            }
        }
        block.push('\n');
        for (system, command) in self.commands.all() {
            block = block + &format!("{system:<WIDTH$}{}\n", command.command);
            if command.needs_port_22 {
                block = block + &format!("{:<WIDTH$}{} {}\n", "", words.needs_port, self.port);
            }
            if command.asks_for_token {
                block = block + &format!("{:<WIDTH$}{}\n", "", words.asks);
            }
        }
        block
    }
}

/// Where the commands begin in a line.
const WIDTH: usize = 16;

impl Commands {
    fn new(host: &str, port: u16, user: &str, token: &str) -> Self {
        let is_22 = port == SSH_PORT;
        let at = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        // OpenSSH's own option; some devices have an old one that knows no URLs.
        let option = if is_22 { String::new() } else { format!("-P {port} ") };
        let scp = |command: String, asks_for_token, names_port: bool| Command {
            command,
            protocol: "scp",
            asks_for_token,
            needs_port_22: !names_port && !is_22,
        };
        let remote_port = if is_22 { String::new() } else { format!("remote-port {port} ") };
        let with_port = if is_22 { at.clone() } else { format!("{at}:{port}") };
        Self {
            ios: scp(format!("copy flash:NAME scp://{user}:{token}@{at}/NAME"), false, false),
            // Its URLs take no password; `vrf` is asked for if it is missing, and this is the usual
            // one.
            nx_os: Command {
                command: format!("copy bootflash:NAME sftp://{user}@{at}/NAME vrf management"),
                protocol: "sftp",
                asks_for_token: true,
                needs_port_22: !is_22,
            },
            junos: scp(format!("file copy /var/tmp/NAME scp://{user}@{at}/NAME"), true, false),
            // `copy ... scp:` can name no port; the shell below it has OpenSSH.
            eos: scp(format!("bash scp {option}/mnt/flash/NAME {user}@{at}:/NAME"), true, true),
            pan_os: scp(format!("scp export tech-support {remote_port}to {user}@{at}:/NAME"), true, true),
            // FortiOS 7.0.1 and newer; before that there is no SSH in it.
            fortios: Command {
                command: format!("execute backup config sftp /NAME {with_port} {user} {token}"),
                protocol: "sftp",
                asks_for_token: false,
                needs_port_22: false,
            },
            f5: scp(format!("scp {option}/var/tmp/NAME {user}@{at}:/NAME"), true, true),
            sr_os: scp(format!("file scp cf3:/NAME {user}@{at}:/NAME"), true, false),
        }
    }

    fn all(&self) -> [(&'static str, &Command); 8] {
        [
            ("IOS, IOS-XE", &self.ios),
            ("NX-OS", &self.nx_os),
            ("Junos", &self.junos),
            ("EOS", &self.eos),
            ("PAN-OS", &self.pan_os),
            ("FortiOS", &self.fortios),
            ("F5 (bash)", &self.f5),
            ("SR OS", &self.sr_os),
        ]
    }
}

/// What a block says, in one language.
struct Words {
    heading: &'static str,
    weak: &'static str,
    host_key: &'static str,
    needs_port: &'static str,
    asks: &'static str,
}

const ENGLISH: Words = Words {
    heading: "Commands for devices. NAME is the file; the same name again becomes a new version. Nothing can be read back.",
    weak: "They lead to the listener with weak encryption, for devices that know nothing better.",
    host_key: "Its host key:",
    needs_port: "can name no port and needs 22, but the listener has",
    asks: "asks for the token",
};

const GERMAN: Words = Words {
    heading: "Befehle für Geräte. NAME ist die Datei; derselbe Name noch einmal wird eine neue Version. Lesen ist nicht möglich.",
    weak: "Sie führen zum Zugang mit schwacher Verschlüsselung, für Geräte, die nichts Besseres können.",
    host_key: "Sein Hostschlüssel:",
    needs_port: "kann keinen Port nennen und braucht 22, der Zugang hat aber",
    asks: "fragt nach dem Token",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(host: &str, port: u16, token: Option<&str>) -> Devices {
        Devices::new(PublicAddress { host: host.into(), port }, true, Some("SHA256:rsa".into()), "XT-4711", token)
    }

    #[test]
    fn r44_each_system_gets_a_command_that_can_be_pasted() {
        let block = devices("drop.example.net", 22, Some("abc23def")).block(Language::En);
        for line in [
            "IOS, IOS-XE     copy flash:NAME scp://XT-4711:abc23def@drop.example.net/NAME",
            "NX-OS           copy bootflash:NAME sftp://XT-4711@drop.example.net/NAME vrf management",
            "Junos           file copy /var/tmp/NAME scp://XT-4711@drop.example.net/NAME",
            "EOS             bash scp /mnt/flash/NAME XT-4711@drop.example.net:/NAME",
            "PAN-OS          scp export tech-support to XT-4711@drop.example.net:/NAME",
            "FortiOS         execute backup config sftp /NAME drop.example.net XT-4711 abc23def",
            "F5 (bash)       scp /var/tmp/NAME XT-4711@drop.example.net:/NAME",
            "SR OS           file scp cf3:/NAME XT-4711@drop.example.net:/NAME",
            "Its host key: SHA256:rsa",
        ] {
            assert!(block.lines().any(|have| have == line), "{line} is missing in:\n{block}");
        }
        assert!(!block.contains("needs 22") && block.contains("asks for the token"), "{block}");
    }

    #[test]
    fn r44_another_port_is_named_or_said_to_be_impossible() {
        let devices = devices("2001:db8::1", 2223, None);
        let block = devices.block(Language::De);
        for part in [
            "scp -P 2223 /var/tmp/NAME XT-4711@[2001:db8::1]:/NAME",
            "scp export tech-support remote-port 2223 to XT-4711@[2001:db8::1]:/NAME",
            "execute backup config sftp /NAME [2001:db8::1]:2223 XT-4711 TOKEN",
            "scp://XT-4711:TOKEN@[2001:db8::1]/NAME",
        ] {
            assert!(block.contains(part), "{part} is missing in:\n{block}");
        }
        assert_eq!(block.matches("braucht 22, der Zugang hat aber 2223").count(), 4, "{block}");
        let json = serde_json::to_value(&devices).unwrap();
        assert_eq!((json["port"].as_u64(), json["legacy"].as_bool()), (Some(2223), Some(true)));
        for (system, needs) in [("ios", true), ("nx_os", true), ("junos", true), ("sr_os", true)] {
            assert_eq!(json["commands"][system]["needs_port_22"], needs, "{system}");
        }
        for system in ["eos", "pan_os", "fortios", "f5"] {
            assert_eq!(json["commands"][system]["needs_port_22"], false, "{system}");
        }
        assert!(block.lines().all(|line| line.chars().count() <= 120), "{block}");
    }
}
