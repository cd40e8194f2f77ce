//! The conversation with a mail server that follows a script.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::fixtures::{Always, notice};
use crate::message::Sender;
use tacdrop_model::Language;

/// A mail server that follows a script: the reply to each command that begins with a word; all else
/// gets `250 ok`.
struct Sink {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    mails: Arc<Mutex<Vec<Vec<u8>>>>,
}

type Script = &'static [(&'static str, &'static str)];

async fn sink(script: Script) -> Sink {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, mails) = (Arc::default(), Arc::default());
    let sink = Sink { port, heard: Arc::clone(&heard), mails: Arc::clone(&mails) };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = converse(stream, script, &heard, &mails).await;
        }
    });
    sink
}

async fn converse(
    stream: TcpStream,
    script: Script,
    heard: &Mutex<Vec<String>>,
    mails: &Mutex<Vec<Vec<u8>>>,
) -> std::io::Result<()> {
    let answer = |word: &str, usual: &str| {
        let scripted = script.iter().find(|(key, _)| *key == word).map(|(_, reply)| *reply);
        format!("{}\r\n", scripted.unwrap_or(usual))
    };
    let mut stream = BufReader::new(stream);
    stream.write_all(answer("greeting", "220 sink").as_bytes()).await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        let word = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        heard.lock().unwrap().push(line);
        match word.as_str() {
            "EHLO" => stream.write_all(answer("EHLO", "250-sink\r\n250 8BITMIME").as_bytes()).await?,
            "DATA" => {
                let go_on = answer("DATA", "354 go on");
                stream.write_all(go_on.as_bytes()).await?;
                if !go_on.starts_with("354") {
                    continue;
                }
                let mut mail = Vec::new();
                while !mail.ends_with(b"\r\n.\r\n") {
                    if stream.read_until(b'\n', &mut mail).await? == 0 {
                        return Ok(());
                    }
                }
                mails.lock().unwrap().push(mail);
                stream.write_all(answer("end", "250 taken").as_bytes()).await?;
            }
            "QUIT" => {
                // Says nothing and hangs up: a goodbye that fails.
                return Ok(());
            }
            word => stream.write_all(answer(word, "250 ok").as_bytes()).await?,
        }
    }
}

fn settings(port: u16) -> SmtpSettings {
    SmtpSettings {
        host: "127.0.0.1".into(),
        port,
        tls: Tls::None,
        login: None,
        helo: None,
        timeout: Duration::from_secs(5),
    }
}

fn mail() -> Mail {
    Mail::of(&notice(Language::De), &Sender::new("support@example.org").unwrap()).unwrap()
}

async fn send(settings: SmtpSettings) -> Result<(), DeliveryError> {
    Smtp::new(settings).unwrap().send(&mail(), &Always).await
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written_although_the_goodbye_fails() {
    let sink = sink(&[]).await;
    send(settings(sink.port)).await.unwrap();
    assert_eq!(
        *sink.heard.lock().unwrap(),
        [
            "EHLO [127.0.0.1]",
            "MAIL FROM:<support@example.org> BODY=8BITMIME",
            "RCPT TO:<anna@example.org>",
            "DATA",
            "QUIT"
        ]
    );
    let mails = sink.mails.lock().unwrap();
    assert!(*mails == [[mail().bytes(), b"\r\n.\r\n"].concat()]);
}

#[tokio::test]
async fn a_server_without_8bitmime_gets_seven_bits() {
    let sink = sink(&[("EHLO", "250 sink")]).await;
    let mut settings = settings(sink.port);
    settings.helo = Some("tacdrop.example.org".into());
    send(settings).await.unwrap();
    assert_eq!(sink.heard.lock().unwrap()[0], "EHLO tacdrop.example.org");
    let mails = sink.mails.lock().unwrap();
    assert!(mails[0].is_ascii() && mails[0].starts_with(mail().seven_bit()));
}

#[tokio::test]
async fn only_a_refusal_of_the_mail_is_for_good() {
    let cases: [(Script, bool, &str); 18] = [
        (&[("RCPT", "550 no such user")], true, "refused the mail for good (550 no such user)"),
        (&[("RCPT", "550 5.1.1 <anna@example.org>: unknown")], true, "'tacdrop notice readdress'"),
        (&[("RCPT", "550 5.7.1 Relaying denied")], false, "because of a setting (550 5.7.1 Relaying denied)"),
        (&[("RCPT", "550 relay not permitted")], false, "because of a setting"),
        (&[("RCPT", "553 not in my rcpthosts (#5.7.1)")], false, "because of a setting"),
        (&[("RCPT", "550 5.1.8 Sender address rejected")], false, "because of a setting"),
        (&[("RCPT", "554 5.7.1 Relay access denied")], false, "because of a setting"),
        (&[("MAIL", "501 bad sender")], false, "(501 bad sender)"),
        (&[("MAIL", "553 5.7.1 not owned by user")], false, "(553 5.7.1 not owned by user)"),
        (&[("end", "554 spam")], true, "(554 spam)"),
        (&[("end", "552 5.3.4 too large")], true, "'tacdrop notice retry'"),
        (&[("RCPT", "450 mailbox busy")], false, "did not take the mail (450 mailbox busy)"),
        (&[("end", "451 later")], false, "(451 later)"),
        (&[("MAIL", "530 authentication required")], false, "(530 authentication required)"),
        (&[("greeting", "554 no service")], false, "cannot be reached (554 no service)"),
        (&[("greeting", "421 too busy")], false, "(421 too busy)"),
        (&[("RCPT", "what?")], false, "did not take the mail"),
        (&[("DATA", "452 disk full")], false, "(452 disk full)"),
    ];
    for (script, for_good, words) in cases {
        let error = send(settings(sink(script).await.port)).await.unwrap_err();
        assert_eq!(matches!(error, DeliveryError::Permanent(_)), for_good, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().starts_with("The mail server 127.0.0.1:"), "{error}");
    }
}

#[tokio::test]
async fn r80_behind_the_final_dot_the_code_decides_and_silence_is_no_refusal() {
    for taken in ["250", "250-one\r\n250-two\r\n250 three", "251 \u{fc}bernommen", "250 ok\n"] {
        let script: Script = Box::leak(Box::new([("end", taken)]));
        send(settings(sink(script).await.port)).await.unwrap();
    }
    for lost in ["what?", "354 go on", ""] {
        let script: Script = Box::leak(Box::new([("end", lost)]));
        let error = send(settings(sink(script).await.port)).await.unwrap_err();
        assert!(matches!(error, DeliveryError::Unknown(_)), "{lost}: {error}");
    }
}

#[tokio::test]
async fn who_does_not_know_ehlo_hears_helo() {
    let sink = sink(&[("EHLO", "502 what?")]).await;
    send(settings(sink.port)).await.unwrap();
    assert_eq!(sink.heard.lock().unwrap()[1], "HELO [127.0.0.1]");
}

#[tokio::test]
async fn r60_a_reply_that_quotes_a_file_name_or_acts_is_not_kept() {
    let port = sink(&[("end", "554 rejected because of core.gz")]).await.port;
    let error = send(settings(port)).await.unwrap_err().to_string();
    assert!(error.contains("(554)") && !error.contains("core.gz"), "{error}");
    let port = sink(&[("RCPT", "550 \x1b[31mred")]).await.port;
    let error = send(settings(port)).await.unwrap_err().to_string();
    assert!(error.contains("red") && !error.contains('\x1b'), "{error}");
}

#[tokio::test]
async fn a_closed_port_is_temporary() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = send(settings(port)).await.unwrap_err();
    assert!(matches!(&error, DeliveryError::Temporary(s) if s.contains("cannot be reached")), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(listener.local_addr().unwrap().port());
    settings.timeout = Duration::from_millis(50);
    let error = send(settings).await.unwrap_err();
    assert!(matches!(&error, DeliveryError::Temporary(s) if s.contains("was not ready")), "{error}");
}

#[tokio::test]
async fn a_login_is_shown_and_its_refusal_is_temporary() {
    let login = || Some(Login { user: "u".into(), password: Zeroizing::new("p".into()) });
    let taken = sink(&[("EHLO", "250-sink\r\n250 AUTH PLAIN"), ("AUTH", "235 welcome")]).await;
    let mut with_login = settings(taken.port);
    with_login.login = login();
    send(with_login).await.unwrap();
    // base64 of NUL u NUL p (RFC 4616).
    assert_eq!(taken.heard.lock().unwrap()[1], "AUTH PLAIN AHUAcA==");

    let refused = sink(&[("EHLO", "250-sink\r\n250 AUTH PLAIN"), ("AUTH", "535 wrong")]).await;
    let mut with_login = settings(refused.port);
    with_login.login = login();
    let error = send(with_login).await.unwrap_err();
    assert!(matches!(&error, DeliveryError::Temporary(s) if s.contains("refused the login (535 wrong)")), "{error}");
    assert!(refused.mails.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    let sink = sink(&[]).await;
    let mut settings = settings(sink.port);
    settings.tls = Tls::StartTls;
    let error = send(settings).await.unwrap_err();
    assert!(matches!(&error, DeliveryError::Temporary(s) if s.contains("did not start TLS")), "{error}");
    assert!(!sink.heard.lock().unwrap().iter().any(|line| line.starts_with("MAIL")));
}

/// A server that offers STARTTLS and answers it with these pieces, a while apart. Gives all that it
/// heard.
async fn answers_starttls(pieces: &'static [&'static [u8]]) -> (SmtpSettings, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let ears = Arc::clone(&heard);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"220 sink\r\n").await.unwrap();
        for (heard_to, said) in [("EHLO", &[b"250-sink\r\n250 STARTTLS\r\n".as_slice()][..]), ("STARTTLS\r\n", pieces)]
        {
            let mut bytes = [0; 512];
            while !String::from_utf8_lossy(&ears.lock().unwrap()).contains(heard_to) {
                let read = stream.read(&mut bytes).await.unwrap();
                ears.lock().unwrap().extend(&bytes[..read]);
            }
            for piece in said {
                stream.write_all(piece).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        ears.lock().unwrap().extend(rest);
    });
    let settings = SmtpSettings {
        tls: Tls::StartTls,
        login: Some(Login { user: "u".into(), password: Zeroizing::new("p".into()) }),
        ..settings(port)
    };
    (settings, heard)
}

/// The kind of CVE-2011-0411: what is sent in clear behind the answer to STARTTLS must count for
/// nothing.
#[tokio::test]
async fn what_is_put_in_before_tls_begins_ends_the_conversation() {
    let injected: [&'static [&'static [u8]]; 4] = [
        &[b"220 go on\r\n250-sink\r\n250 AUTH PLAIN\r\n235 welcome\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 taken\r\n"],
        &[b"220 go on\r\n", b"250-sink\r\n250 AUTH PLAIN\r\n235 welcome\r\n"],
        &[b"220 go on\r\n2", b"50 sink\r\n"],
        &[b"220-go\r\n220 on\r\n\n"],
    ];
    for pieces in injected {
        let (settings, heard) = answers_starttls(pieces).await;
        let error = send(settings).await.unwrap_err();
        assert!(
            matches!(&error, DeliveryError::Temporary(s) if s.contains("between its answer to STARTTLS")),
            "{error}"
        );
        let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
        for word in ["AUTH", "MAIL", "AHUAcA==", "QUIT"] {
            assert!(!heard.contains(word), "{heard:?}");
        }
    }
    let (settings, heard) = answers_starttls(&[b"454 4.7.0 TLS not available\r\n"]).await;
    let error = send(settings).await.unwrap_err();
    assert!(matches!(&error, DeliveryError::Temporary(s) if s.contains("did not start TLS (454")), "{error}");
    assert!(!String::from_utf8_lossy(&heard.lock().unwrap()).contains("AUTH"));
}

#[test]
fn a_server_has_at_least_the_time_that_rfc_5321_wants() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for timeout in [1, 30, 300, 600] {
        let command = Duration::from_secs(timeout);
        let patience = Patience::of(command);
        assert_eq!(patience.command, command);
        assert!(patience.connecting <= command && patience.connecting <= CONNECTING);
        assert!(patience.block >= minutes(3) && patience.text >= patience.block && patience.final_dot >= minutes(10));
        let smtp = Smtp::new(SmtpSettings { timeout: command, ..settings(25) }).unwrap();
        assert!(smtp.longest_delivery() > command * MOST_STEPS + patience.text + patience.final_dot);
    }
}
