use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::*;

const EXAMPLE: &str = include_str!("../../config/tacdrop.toml");

/// Loads a file with this text and these variables.
fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tacdrop.toml");
    std::fs::write(&file, text).unwrap();
    // The shipped file names it.
    std::fs::write(directory.path().join("policy.toml"), include_str!("../../config/policy.toml")).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let place = format!("{}/", directory.path().display());
    Config::load(Some(&file), env).map_err(|why| why.to_string().replace(&place, ""))
}

fn refused(text: &str, sentence: &str) {
    assert_eq!(load(text, &[]).unwrap_err(), sentence, "{text}");
}

fn refused_variable(name: &str, value: &str, sentence: &str) {
    assert_eq!(load("", &[(name, value)]).unwrap_err(), sentence);
}

/// The shipped file with each key that is a comment made one.
fn example_with_every_key() -> String {
    let is_key = |line: &str| {
        line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ")).is_some_and(|(key, _)| !key.contains(' '))
    };
    EXAMPLE.lines().map(|line| if is_key(line) { &line[2..] } else { line }).collect::<Vec<_>>().join("\n")
}

/// `section.key` of each value, secrets as one.
fn keys_in(text: &str) -> BTreeSet<String> {
    fn walk(name: &str, value: &toml::Value, keys: &mut BTreeSet<String>) {
        match value {
            // A section that has a key of this name is no secret.
            toml::Value::Table(table)
                if !name.contains('.') || !table.contains_key("file") && !table.contains_key("env") =>
            {
                for (key, value) in table {
                    walk(&if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, value, keys);
                }
            }
            _ => {
                keys.insert(name.to_owned());
            }
        }
    }
    let mut keys = BTreeSet::new();
    walk("", &toml::Value::Table(toml::from_str(text).unwrap()), &mut keys);
    keys
}

#[test]
fn without_a_file_and_with_the_shipped_one_everything_has_its_default() {
    assert_eq!(Config::load(None, std::iter::empty()).unwrap(), Config::default());
    assert_eq!(load(EXAMPLE, &[]), Ok(Config::default()));
}

#[test]
fn the_shipped_file_has_every_key_and_no_other() {
    let every_key = example_with_every_key();
    let known: BTreeSet<String> = Config::keys().into_iter().map(str::to_owned).collect();
    assert_eq!(keys_in(&every_key), known);
    let config = load(&every_key, &[]).unwrap();
    // And the tree shows each of them: no field is forgotten by the reader, none by the writer.
    assert_eq!(keys_in(&config.masked()), known);
    for line in EXAMPLE.lines() {
        assert!(line.len() <= 120, "{line}");
    }
}

#[test]
fn the_defaults_are_those_that_are_promised() {
    let c = Config::default();
    assert_eq!(c.server.listen.to_string(), "127.0.0.1:2222");
    assert_eq!((c.server.drain_seconds, c.server.connection_threads), (30, 0));
    assert_eq!((c.server.banner, c.server.remarks), (Vec::<String>::new(), true));
    let l = &c.limits;
    assert_eq!((l.unauthenticated_connections, l.unauthenticated_per_source, l.connections_per_source), (64, 32, 100));
    assert_eq!((l.login_grace_seconds, l.failures_per_connection, l.key_probes), (120, 4, 20));
    assert_eq!((l.rejection_milliseconds, l.channels_per_connection, l.handles), (300, 4, 64));
    assert_eq!((l.idle_seconds, l.stalled_seconds, l.keepalive_seconds, l.rekey_mib), (600, 120, 30, 1024));
    assert_eq!((l.window_kib, l.window_most_kib, l.windows_mib), (2048, 65_536, 1024));
    assert_eq!((l.buffered_plaintext_mib_per_session, l.buffered_plaintext_mib, l.read_ahead_mib), (8, 256, 64));
    assert_eq!((l.names_per_share, l.file_gib, l.share_gib), (100_000, 1024, 4096));
    assert_eq!((c.storage.extent_mib, c.storage.checkpoint_seconds, c.storage.inline_kib), (32, 5, 64));
    assert_eq!(c.storage.quarantine_days, 7);
    assert_eq!((c.notify.settle_seconds, c.notify.settle_max_seconds, c.notify.give_up_hours), (10, 60, 72));
    assert_eq!(c.notify.temporary_settle_seconds, 600);
    assert_eq!(c.digests.also, []);
    assert_eq!((c.keys.kek, c.notify.spool, c.notify.smtp), (None, None, None));
    assert_eq!((c.http, c.metrics.listen), (None, None));
    assert_eq!((c.log.format, c.log.level), (LogFormat::Text, LogLevel::Info));
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let ask = |key: &str, nearest: &str| {
        format!("tacdrop.toml, '{key}': there is no such setting; did you mean '{nearest}'?")
    };
    refused("[server]\nlistn = 1", &ask("server.listn", "server.listen"));
    refused("[servr]\nlisten = 1", &ask("servr.listen", "server.listen"));
    refused("drain_seconds = 1", &ask("drain_seconds", "server.drain_seconds"));
    refused("[notify.smpt]\nhost = 1", &ask("notify.smpt.host", "notify.smtp.host"));
    refused("[log]\nleve1 = \"info\"", &ask("log.leve1", "log.level"));
    refused("[limit]", &ask("limit", "limits.handles"));
    refused("log = 1", "tacdrop.toml, 'log': this is a section; write its keys as [log], then one on each line");
    refused_variable(
        "TACDROP__NOTIFY__SMTP__HOTS",
        "x",
        "TACDROP__NOTIFY__SMTP__HOTS: there is no such setting; did you mean TACDROP__NOTIFY__SMTP__HOST?",
    );
    refused(
        "[server]\nlisten = { address = \"x\" }",
        "tacdrop.toml, 'server.listen.address': 'server.listen' is one value and has nothing below it",
    );
}

#[test]
fn weak_digests_are_given_only_when_named() {
    use crate::model::Algorithm::{Md5, Sha1};
    let also = |text: &str, env: &[(&str, &str)]| load(text, env).map(|config| config.digests.also);
    assert_eq!(also("[digests]\nalso = [\"md5\", \"sha1\", \"md5\"]", &[]), Ok(vec![Md5, Sha1]));
    assert_eq!(also("", &[("TACDROP__DIGESTS__ALSO", "sha1")]), Ok(vec![Sha1]));
    refused("[digests]\nalso = [\"crc32\"]", "tacdrop.toml, 'digests.also': each of these must be \"md5\" or \"sha1\"");
    refused(
        "[digests]\nalso = [\"sha256\"]",
        "tacdrop.toml, 'digests.also': \"sha256\" is always given; this can be \"md5\" and \"sha1\"",
    );
}

#[test]
fn the_http_door_is_encrypted_or_stays_on_this_machine() {
    let http = |text: &str| load(text, &[]).map(|config| config.http);
    assert_eq!(http("[http]\npublic_url = \"https://drop.example.org\""), Ok(None), "off unless it listens");
    assert!(http("[http]\nlisten = \"127.0.0.1:0\"").unwrap().is_some_and(|http| http.tls.is_none()));
    let open = "[http]\nlisten = \"0.0.0.0:443\"\n";
    for more in ["trusted_proxies = [\"10.0.0.7\"]", "tls = { certificate = \"c.pem\", key = \"k.pem\" }"] {
        assert!(http(&format!("{open}{more}")).unwrap().is_some(), "{more}");
    }
    refused(
        open,
        "tacdrop.toml, 'http.listen': without encryption this must be an address of this machine alone, as \
         \"127.0.0.1:8080\"; set http.tls.certificate and http.tls.key, or http.trusted_proxies for a proxy that encrypts",
    );
    refused("[http.tls]\ncertificate = \"c.pem\"", "http.tls.key: this is missing; a certificate needs its key");
    refused(
        "[http]\npublic_url = \"drop.example.org\"",
        "tacdrop.toml, 'http.public_url': this must be a scheme and a host, as \"https://drop.example.org\" or \
         \"https://drop.example.org:8443\"",
    );
}

#[test]
fn metrics_need_an_address_and_a_port() {
    let listen = load("[metrics]\nlisten = \"[::1]:9464\"", &[]).unwrap().metrics.listen;
    assert_eq!(listen.map(|address| address.to_string()).as_deref(), Some("[::1]:9464"));
    refused(
        "[metrics]\nlisten = \"9464\"",
        "tacdrop.toml, 'metrics.listen': this must be an address and a port, as \"127.0.0.1:9464\"",
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = "[server]\nlisten = \"0.0.0.0:22\"\ndrain_seconds = 5\n[notify.smtp]\nhost = \"a.example\"\nfrom = \"a@a.example\"";
    let env = [
        ("TACDROP__SERVER__DRAIN_SECONDS", "7"),
        ("TACDROP__NOTIFY__SMTP__HOST", "127.0.0.1"),
        ("TACDROP__NOTIFY__SMTP__TLS", "none"),
        ("TACDROP__LOG__LEVEL", "trace"),
        ("TACDROP_DATA", "/not/a/setting"),
        ("PATH", "/bin"),
    ];
    let config = load(text, &env).unwrap();
    assert_eq!(config.server.listen, "0.0.0.0:22".parse::<SocketAddr>().unwrap());
    assert_eq!((config.server.drain_seconds, config.log.level), (7, LogLevel::Trace));
    let smtp = config.notify.smtp.unwrap();
    assert_eq!((smtp.host.as_str(), smtp.tls, smtp.from.as_str()), ("127.0.0.1", SmtpTls::None, "a@a.example"));
}

#[test]
fn numbers_have_ranges() {
    for (key, value, range) in [
        ("limits.handles", "0", "1 to 4096"),
        ("limits.handles", "-1", "1 to 4096"),
        ("limits.handles", "4097", "1 to 4096"),
        ("limits.handles", "\"64\"", "1 to 4096"),
        ("limits.handles", "1.5", "1 to 4096"),
        ("server.public_port", "0", "1 to 65535"),
        ("server.public_port", "65536", "1 to 65535"),
        ("notify.smtp.port", "0", "1 to 65535"),
        ("storage.extent_mib", "128", "1 to 64"),
        ("notify.give_up_hours", "true", "1 to 8760"),
    ] {
        let sentence = format!("tacdrop.toml, '{key}': this must be a whole number from {range}");
        refused(&format!("{key} = {value}"), &sentence);
    }
    for value in ["", "x", "-1", "1e3", "99999999999999999999"] {
        let sentence = "TACDROP__LIMITS__HANDLES: this must be a whole number from 1 to 4096";
        refused_variable("TACDROP__LIMITS__HANDLES", value, sentence);
    }
}

#[test]
fn every_number_is_bounded() {
    for key in Config::keys() {
        let refused = load(&format!("{key} = 9223372036854775807"), &[]).unwrap_err();
        assert!(refused.contains(key), "{refused}");
    }
}

#[test]
fn values_that_are_no_numbers_are_checked_too() {
    let listen = "this must be an address and a port, as \"0.0.0.0:2222\" or \"[::]:2222\"";
    for bad in ["2222", "localhost:2222", "0.0.0.0", "0.0.0.0:70000"] {
        refused(&format!("[server]\nlisten = \"{bad}\""), &format!("tacdrop.toml, 'server.listen': {listen}"));
    }
    for bad in ["a b", "a:22", "sftp://a", "-oProxyCommand=x", "a..b", "a/b", "$(x)", "müller.example"] {
        let sentence = "tacdrop.toml, 'server.public_host': this must be a host name or an IP address, without a port";
        refused(&format!("[server]\npublic_host = \"{bad}\""), sentence);
    }
    refused(
        "[server]\npublic_host = \"a\\nb\"",
        "tacdrop.toml, 'server.public_host': this must be a text that is not empty, on one line",
    );
    refused(
        "[log]\nlevel = \"loud\"",
        "tacdrop.toml, 'log.level': this must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
    );
    for (mib, fits) in [(1, true), (16, true), (64, true), (3, false), (63, false)] {
        assert_eq!(load(&format!("[storage]\nextent_mib = {mib}"), &[]).is_ok(), fits, "{mib}");
    }
    refused(
        "[limits]\nwindow_most_kib = 2047",
        "tacdrop.toml, 'limits.window_most_kib': this must be at least limits.window_kib, which is 2048",
    );
    refused(
        "[limits]\nbuffered_plaintext_mib = 7",
        "tacdrop.toml, 'limits.buffered_plaintext_mib': this must be at least \
         limits.buffered_plaintext_mib_per_session, which is 8",
    );
}

#[test]
fn temporary_names_are_a_list_of_patterns() {
    let names = |text: &str, env: &[(&str, &str)]| load(text, env).map(|config| config.notify.temporary_names);
    let file = "[notify]\ntemporary_names = [\"*.upload\"]";
    let list = |patterns: &[&str]| Ok(crate::model::TemporaryNames::new(patterns).unwrap());
    assert_eq!(names(file, &[]), list(&["*.upload"]));
    assert_eq!(names("[notify]\ntemporary_names = []", &[]), list(&[]));
    assert_eq!(names(file, &[("TACDROP__NOTIFY__TEMPORARY_NAMES", "*.a, b*")]), list(&["*.a", "b*"]));
    refused(
        "[notify]\ntemporary_names = \"*.part\"",
        "tacdrop.toml, 'notify.temporary_names': this must be a list of texts, as [\"one\", \"two\"]",
    );
    for bad in ["[\"*\"]", "[\"a/b\"]", "[\"\"]"] {
        let refused = load(&format!("[notify]\ntemporary_names = {bad}"), &[]).unwrap_err();
        assert!(refused.contains("'notify.temporary_names': '") && refused.contains("is no pattern"), "{refused}");
    }
    assert!(load("[notify]\ntemporary_names = [1]", &[]).is_err());
}

#[test]
fn a_mail_server_is_whole_or_none() {
    let smtp = |text: &str| load(&format!("[notify.smtp]\n{text}"), &[]).map(|config| config.notify.smtp);
    assert_eq!(smtp("port = 25"), Ok(None));
    let one = smtp("host = \"mail.example\"\nfrom = \"a@b.example\"").unwrap().unwrap();
    assert_eq!((one.port, one.tls, one.timeout_seconds), (587, SmtpTls::StartTls, 300));
    for (text, sentence) in [
        ("host = \"m\"", "notify.smtp.from: this is missing"),
        ("from = \"a@b.example\"", "notify.smtp.host: this is missing, but other keys"),
        ("host = \"m\"\nfrom = \"nobody\"", "'notify.smtp.from': a sender is written"),
        ("host = \"m\"\nfrom = \"a@b.example\"\nuser = \"u\"", "'notify.smtp.user': notify.smtp.password is missing"),
        (
            "host = \"m\"\nfrom = \"a@b.example\"\npassword = { env = \"X\" }",
            "notify.smtp.user is missing; both or none",
        ),
        (
            "host = \"m\"\nfrom = \"a@b.example\"\nuser = \"u\"\npassword = { env = \"X\" }\ntls = \"none\"",
            "'notify.smtp.tls': \"none\" would send the password",
        ),
    ] {
        let refused = smtp(text).unwrap_err();
        assert!(refused.contains(sentence), "{refused}");
    }
    let here = "host = \"localhost\"\nfrom = \"a@b.example\"\nuser = \"u\"\npassword = { env = \"X\" }\ntls = \"none\"";
    assert!(smtp(here).is_ok());
}

#[test]
fn r63_an_inline_secret_is_refused_and_never_repeated() {
    let advice = "write password = { file = \"...\" } or password = { env = \"...\" }";
    refused(
        "[notify.smtp]\npassword = \"hunter2\"",
        &format!("tacdrop.toml, 'notify.smtp.password': a secret must not stand here; {advice}"),
    );
    refused_variable(
        "TACDROP__NOTIFY__SMTP__PASSWORD",
        "hunter2",
        "TACDROP__NOTIFY__SMTP__PASSWORD: a secret must not stand here; set TACDROP__NOTIFY__SMTP__PASSWORD__FILE to the \
         path of a file, or TACDROP__NOTIFY__SMTP__PASSWORD__ENV to the name of a variable",
    );
    for text in [
        "[notify.smtp]\npassword = \"hunter2",
        "[notify.smtp]\npassword = hunter2",
        "[notify.smtp]\npassword = { value = \"hunter2\" }",
        "[notify.smtp]\npassword = { file = \"a\", env = \"hunter2\" }",
        "[notify.smtp]\npassword = [\"hunter2\"]",
        "[notify.smtp]\npassword = { file = { x = \"hunter2\" } }",
    ] {
        let refused = load(text, &[]).unwrap_err();
        assert!(!refused.contains("hunter2") && refused.starts_with("tacdrop.toml, "), "{refused}");
    }
    refused(
        "[keys]\nkek = { env = \"KEK\" }",
        "tacdrop.toml, 'keys.kek': this key must be a file: { file = \"PATH\" }",
    );
}

#[test]
fn r63_what_is_shown_refers_to_secrets_and_can_be_loaded_again() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("password");
    std::fs::write(&secret, "hunter2").unwrap();
    let text = format!(
        "[server]\npublic_host = \"[2001:db8::1]\"\n[keys]\nkek = {{ file = \"/k\" }}\n[notify.smtp]\nhost = \"m\"\n\
         from = \"a@b.example\"\nuser = \"u\"\npassword = {{ file = \"{}\" }}",
        secret.display()
    );
    let config = load(&text, &[]).unwrap();
    let shown = config.to_string();
    assert!(shown.contains(&format!("file = \"{}\"", secret.display())), "{shown}");
    assert!(!shown.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    assert_eq!(load(&shown, &[]), Ok(config));
}

#[test]
fn r63_secret_files_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "hunter2").unwrap();
    let smtp = "[notify.smtp]\nhost = \"m\"\nfrom = \"a@b.example\"\nuser = \"u\"\npassword";
    for key in ["[keys]\nkek", smtp] {
        let config = load(&format!("{key} = {{ file = \"{}\" }}", secret.display()), &[]).unwrap();
        for (mode, fits) in [(0o640, false), (0o604, false), (0o600, true), (0o400, true)] {
            std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(config.check_secrets().is_ok(), fits, "{mode:o}");
        }
    }
    let missing = load("[keys]\nkek = { file = \"/nowhere/at/all\" }", &[]).unwrap();
    assert!(missing.check_secrets().is_ok());
}

#[test]
fn the_environment_can_choose_where_a_secret_is() {
    let text = "[notify.smtp]\nhost = \"m\"\nfrom = \"a@b.example\"\nuser = \"u\"\npassword = { env = \"FROM_FILE\" }";
    let password = |env: &[(&str, &str)]| load(text, env).map(|config| config.notify.smtp.unwrap().password.unwrap());
    assert_eq!(password(&[]), Ok(Secret::Env("FROM_FILE".into())));
    let file = ("TACDROP__NOTIFY__SMTP__PASSWORD__FILE", "/run/secrets/smtp");
    assert_eq!(password(&[file]), Ok(Secret::File("/run/secrets/smtp".into())));
    let env = ("TACDROP__NOTIFY__SMTP__PASSWORD__ENV", "OTHER");
    assert_eq!(password(&[env]), Ok(Secret::Env("OTHER".into())));
    assert!(password(&[env, file]).unwrap_err().contains("not both"));
}

#[test]
fn relative_paths_of_the_file_start_at_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tacdrop.toml");
    std::fs::write(&file, "[notify]\nspool = \"mails\"\n[keys]\nkek = { file = \"kek\" }").unwrap();
    let config = Config::load(Some(&file), std::iter::empty()).unwrap();
    assert_eq!(config.notify.spool, Some(directory.path().join("mails")));
    assert_eq!(config.keys.kek.unwrap().file, directory.path().join("kek"));
    let config = load("", &[("TACDROP__NOTIFY__SPOOL", "mails")]).unwrap();
    assert_eq!(config.notify.spool, Some("mails".into()));
}

#[test]
fn what_clients_are_shown() {
    let shown = |text: &str, bound: &str| load(text, &[]).unwrap().server.public_address(bound.parse().unwrap());
    assert_eq!(shown("", "127.0.0.1:4022"), ("127.0.0.1".to_owned(), 4022));
    assert_eq!(shown("", "0.0.0.0:22"), ("localhost".to_owned(), 22));
    assert_eq!(shown("", "[::]:22"), ("localhost".to_owned(), 22));
    assert_eq!(shown("", "[2001:db8::1]:22"), ("2001:db8::1".to_owned(), 22));
    let text = "[server]\npublic_host = \"[2001:db8::2]\"\npublic_port = 2022";
    assert_eq!(shown(text, "0.0.0.0:22"), ("2001:db8::2".to_owned(), 2022));
    assert_eq!(shown("[server]\npublic_host = \"files.example.org\"", "0.0.0.0:22").0, "files.example.org");
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_named() {
    let missing = Config::load(Some(Path::new("/nowhere/tacdrop.toml")), std::iter::empty()).unwrap_err();
    assert!(missing.to_string().starts_with("the settings file /nowhere/tacdrop.toml cannot be read: "), "{missing}");
    let refused = load("[server]\n\nlisten = ", &[]).unwrap_err();
    assert!(refused.starts_with("tacdrop.toml, line 3: "), "{refused}");
    assert!(load("[server]\ndrain_seconds = 1\ndrain_seconds = 2", &[]).unwrap_err().contains("line 3"));
}

#[test]
fn a_banner_is_lines_and_a_flag_is_a_flag() {
    let config = load("[server]\nbanner = [\"one\", \"\", \"two\"]\nremarks = false", &[]).unwrap();
    assert_eq!((config.server.banner.join("|").as_str(), config.server.remarks), ("one||two", false));
    let config = load("", &[("TACDROP__SERVER__REMARKS", "false")]).unwrap();
    assert!(!config.server.remarks);
    for wrong in ["remarks = \"off\"", "remarks = 1", "banner = \"a\"", "banner = [\"a\\u001bb\"]"] {
        assert!(load(&format!("[server]\n{wrong}"), &[]).is_err(), "{wrong}");
    }
}

#[test]
fn r44_the_door_for_old_devices_is_closed_unless_all_of_it_is_said() {
    assert_eq!(Config::default().legacy, None);
    let listen = "[legacy]\nlisten = \"192.0.2.1:22\"\n";
    let rest = "until = 2027-01-31\nallow = [\"192.0.2.0/24\", \"::1\"]\n";
    let legacy = load(&format!("{listen}{rest}"), &[]).unwrap().legacy.unwrap();
    // TOML's own form of a date is as good as a text.
    assert_eq!(legacy.until.to_string(), "2027-01-31");
    assert!(legacy.allow[0].contains("192.0.2.200".parse().unwrap()));
    let (server, bound) = (Server::default(), "192.0.2.1:22".parse().unwrap());
    assert_eq!(legacy.public_address(&server, bound), ("192.0.2.1".to_owned(), 22));
    let server = Server { public_host: Some("drop.example.org".into()), public_port: Some(2222), ..server };
    assert_eq!(legacy.public_address(&server, bound), ("drop.example.org".to_owned(), 22));
    let own = Legacy { public_host: Some("old.example.org".into()), public_port: Some(8022), ..legacy };
    assert_eq!(own.public_address(&server, bound), ("old.example.org".to_owned(), 8022));
    // Off, with the rest written down for another day; wrong is wrong all the same.
    assert_eq!(load(&format!("[legacy]\n{rest}"), &[]).unwrap().legacy, None);
    refused("[legacy]\nallow = []", "tacdrop.toml, 'legacy.allow': this must hold 1 to 1024 addresses or networks");
    refused("[legacy]\nuntil = 2027-01-31T10:00:00Z", "tacdrop.toml, 'legacy.until': a date is needed, as 2027-01-31");
    refused(listen, "legacy.until: this is missing; weak encryption needs a last day, as until = \"2027-01-31\"");
}
