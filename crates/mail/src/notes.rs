//! Sentences about single files, in two languages: how unfinished they are, what they replace, what
//! their sender's digest says.

use super::{exact, moment, size};
use crate::notice::{Arrival, Before, Check, FileLine, News, Standing, Unfinished};
use tacdrop_model::sanitize;
use tacdrop_model::{Language, Verdict};

/// The lines about a file that stand below its name, each with no character that acts.
pub(super) fn of(file: &FileLine, language: Language) -> Vec<String> {
    match &file.news {
        News::Arrived(arrival) => of_arrival(file.version, arrival, language),
        News::Incomplete(unfinished) => {
            let mut lines = of_unfinished(*unfinished, language);
            lines.push(match language {
                Language::En => "Its sender can continue the upload; until then there is nothing to fetch.".to_owned(),
                Language::De => "Der Absender kann sie fortsetzen; bis dahin gibt es nichts abzuholen.".to_owned(),
            });
            lines
        }
        News::Expiring { unfinished, removed_at } => {
            let mut lines = of_unfinished(*unfinished, language);
            let at = moment(*removed_at);
            lines.extend(match language {
                Language::En => [
                    format!("Will be removed about {at} unless it is continued."),
                    "If it is still wanted, ask the customer to continue the upload.".to_owned(),
                ],
                Language::De => [
                    format!("Wird etwa {at} entfernt, wenn sie nicht fortgesetzt wird."),
                    "Wird sie noch gebraucht, bitten Sie den Kunden, sie fortzusetzen.".to_owned(),
                ],
            });
            lines
        }
        News::Deleted => vec![match language {
            Language::En => "Its sender has deleted it; it can be restored for a while.".to_owned(),
            Language::De => "Der Absender hat sie gelöscht; eine Zeitlang lässt sie sich wiederherstellen.".to_owned(),
        }],
    }
}

fn of_unfinished(unfinished: Unfinished, language: Language) -> Vec<String> {
    let there = size(unfinished.there, language);
    match (language, unfinished.missing) {
        (Language::En, Some(percent)) => {
            vec![format!("Status: incomplete, {percent} % missing"), format!("So far: {there}")]
        }
        (Language::En, None) => vec!["Status: incomplete, its end has not come".to_owned(), format!("So far: {there}")],
        (Language::De, Some(percent)) => {
            let verb = if percent == 1 { "fehlt" } else { "fehlen" };
            vec![format!("Stand: unvollständig, {percent} % {verb}"), format!("Bisher: {there}")]
        }
        (Language::De, None) => vec!["Stand: unvollständig, das Ende fehlt".to_owned(), format!("Bisher: {there}")],
    }
}

fn of_arrival(version: u32, arrival: &Arrival, language: Language) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(arrival.moved_from.as_ref().map(|ticket| match language {
        Language::En => format!("Moved from ticket {ticket}"),
        Language::De => format!("Verschoben von Ticket {ticket}"),
    }));
    lines.extend(match (language, arrival.before) {
        (_, None) if version > 1 || arrival.replaced_by.is_some() => Some(format!("Version {version}")),
        (_, None) => None,
        (Language::En, Some(Before { version: old, continued: true, size })) => {
            let bytes = exact(size, language);
            Some(format!("Version {version}, continues version {old} ({bytes}), which was shorter"))
        }
        (Language::De, Some(Before { version: old, continued: true, size })) => {
            let bytes = exact(size, language);
            Some(format!("Version {version}, setzt Version {old} ({bytes}) fort, die kürzer war"))
        }
        (Language::En, Some(Before { version: old, size, .. })) => {
            Some(format!("Version {version}, replaces version {old} ({})", exact(size, language)))
        }
        (Language::De, Some(Before { version: old, size, .. })) => {
            Some(format!("Version {version}, ersetzt Version {old} ({})", exact(size, language)))
        }
    });
    lines.extend(arrival.replaced_by.map(|new| match language {
        Language::En => format!("Version {new} has replaced it."),
        Language::De => format!("Version {new} hat sie ersetzt."),
    }));
    lines.extend(
        match (language, arrival.standing) {
            (_, Standing::Available) => None,
            (Language::En, Standing::Withdrawn) => {
                Some("Its sender has deleted it since; it can be restored for a while.")
            }
            (Language::De, Standing::Withdrawn) => {
                Some("Der Absender hat sie inzwischen gelöscht; eine Zeitlang lässt sie sich wiederherstellen.")
            }
            (Language::En, Standing::Damaged) => Some("DAMAGED where it is stored: ask for it again."),
            (Language::De, Standing::Damaged) => {
                Some("BESCHÄDIGT, wo sie gespeichert ist: lassen Sie sie neu schicken.")
            }
        }
        .map(str::to_owned),
    );
    if arrival.zeros > 0 {
        let (sent, whole) = (arrival.size.saturating_sub(arrival.zeros), arrival.size);
        lines.push(match language {
            Language::En => {
                format!("{} of {} were sent, the rest are zeros.", size(sent, language), size(whole, language))
            }
            Language::De => {
                format!("{} von {} wurden gesendet, der Rest sind Nullen.", size(sent, language), size(whole, language))
            }
        });
    }
    if arrival.transport.is_weak() {
        lines.push(match language {
            Language::En => "Came by the legacy listener, over weak encryption: others may have read or changed it.".to_owned(),
            Language::De => {
                "Kam über den Legacy-Zugang mit schwacher Verschlüsselung: Andere können sie gelesen oder verändert haben."
                    .to_owned()
            }
        });
    }
    lines.extend(arrival.checks.iter().map(|check| of_check(check, language)));
    lines
}

fn of_check(check: &Check, language: Language) -> String {
    let digest = check.algorithm.title();
    match &check.of {
        None => match (language, check.verdict) {
            (Language::En, Verdict::Matches) => format!("Matches the sender's {digest}."),
            (Language::En, Verdict::Differs) => format!("DIFFERS from the sender's {digest}: ask for it again."),
            (Language::En, Verdict::NotUnderstood) => format!("The sender's {digest} beside it was not understood."),
            (Language::De, Verdict::Matches) => format!("Stimmt mit {digest} des Absenders überein."),
            (Language::De, Verdict::Differs) => {
                format!("WEICHT von {digest} des Absenders AB: lassen Sie sie neu schicken.")
            }
            (Language::De, Verdict::NotUnderstood) => {
                format!("Die Angabe des Absenders zu {digest} war nicht zu verstehen.")
            }
        },
        Some(name) => {
            let name = sanitize::quoted(name.as_bytes());
            match (language, check.verdict) {
                (Language::En, Verdict::Matches) => format!("{digest} of {name}: matches."),
                (Language::En, Verdict::Differs) => {
                    format!("{digest} of {name}: DIFFERS, so ask for {name} again.")
                }
                (Language::En, Verdict::NotUnderstood) => format!("{digest} of {name}: not understood."),
                (Language::De, Verdict::Matches) => format!("{digest} von {name}: stimmt überein."),
                (Language::De, Verdict::Differs) => {
                    format!("{digest} von {name}: WEICHT AB, lassen Sie {name} neu schicken.")
                }
                (Language::De, Verdict::NotUnderstood) => format!("{digest} von {name}: nicht zu verstehen."),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{arrival, file, notice};
    use crate::text::write;
    use tacdrop_model::{Algorithm, Time};

    fn both(file: &FileLine) -> [String; 2] {
        [Language::En, Language::De].map(|language| of(file, language).join("\n"))
    }

    #[test]
    fn what_replaces_what() {
        let mut line = file("a", 1);
        assert_eq!(both(&line), ["", ""]);
        arrival(&mut line).replaced_by = Some(2);
        assert_eq!(both(&line), ["Version 1\nVersion 2 has replaced it.", "Version 1\nVersion 2 hat sie ersetzt."]);
        let mut line = file("a", 2);
        arrival(&mut line).before = Some(Before { version: 1, size: 12_345, continued: true });
        assert_eq!(
            both(&line),
            [
                "Version 2, continues version 1 (12,345 bytes), which was shorter",
                "Version 2, setzt Version 1 (12.345 Bytes) fort, die kürzer war",
            ]
        );
        arrival(&mut line).before = None;
        assert_eq!(both(&line), ["Version 2", "Version 2"]);
    }

    #[test]
    fn what_became_of_it_and_what_its_sender_stated() {
        let mut line = file("a", 1);
        let check = |algorithm, verdict, of: Option<&str>| Check { algorithm, verdict, of: of.map(str::to_owned) };
        arrival(&mut line).checks = vec![
            check(Algorithm::Md5, Verdict::Matches, None),
            check(Algorithm::Sha256, Verdict::Differs, None),
            check(Algorithm::Sha1, Verdict::NotUnderstood, None),
            check(Algorithm::Md5, Verdict::Differs, Some("b\nLocation:\u{202e}")),
        ];
        assert_eq!(
            both(&line),
            [
                "Matches the sender's MD5.\n\
             DIFFERS from the sender's SHA-256: ask for it again.\n\
             The sender's SHA-1 beside it was not understood.\n\
             MD5 of \"b\\u{a}Location:\\u{202e}\": DIFFERS, so ask for \"b\\u{a}Location:\\u{202e}\" again.",
                "Stimmt mit MD5 des Absenders überein.\n\
             WEICHT von SHA-256 des Absenders AB: lassen Sie sie neu schicken.\n\
             Die Angabe des Absenders zu SHA-1 war nicht zu verstehen.\n\
             MD5 von \"b\\u{a}Location:\\u{202e}\": WEICHT AB, lassen Sie \"b\\u{a}Location:\\u{202e}\" neu schicken.",
            ]
        );
        arrival(&mut line).checks.clear();
        arrival(&mut line).transport = tacdrop_model::Transport::Legacy;
        assert!(both(&line)[0].contains("weak encryption") && both(&line)[1].contains("schwacher Verschlüsselung"));
        arrival(&mut line).transport = tacdrop_model::Transport::Modern;
        for (standing, words) in [(Standing::Withdrawn, "deleted"), (Standing::Damaged, "DAMAGED")] {
            arrival(&mut line).standing = standing;
            assert!(both(&line)[0].contains(words), "{}", both(&line)[0]);
            let mut notice = notice(Language::En);
            notice.files = vec![line.clone()];
            let body = write(&notice).unwrap().body;
            assert!(body.contains("SHA-256:") && !body.contains("Fetch") && !body.contains("Location"), "{body}");
        }
    }

    #[test]
    fn r26_what_is_not_whole_is_never_called_a_new_file() {
        let mut incomplete = file("dump.bin", 1);
        incomplete.news = News::Incomplete(Unfinished::new(63, 100));
        let mut expiring = file("core", 1);
        expiring.news =
            News::Expiring { unfinished: Unfinished::new(2048, 2048), removed_at: Time::from_seconds(1_700_000_000) };
        let mut notice = notice(Language::En);
        notice.ticket.title = None;
        notice.files = vec![incomplete.clone()];
        let text = write(&notice).unwrap();
        assert_eq!(text.subject, "[XT-4711] 1 incomplete file");
        let block = "--- 1 of 1 ---\nFile: \"dump.bin\"\nStatus: incomplete, 37 % missing\nSo far: 63 bytes\n\
             Its sender can continue the upload; until then there is nothing to fetch.\nUploaded by: XT-4711\n\nSent by";
        assert!(text.body.contains(block), "{}", text.body);
        for word in ["SHA-256", "Fetch", "Location", "new file"] {
            assert!(!text.body.contains(word), "{word}: {}", text.body);
        }

        notice.files = vec![incomplete, expiring, file("a", 1)];
        (notice.more_files, notice.more_unfinished) = (1, 1);
        let text = write(&notice).unwrap();
        assert_eq!(text.subject, "[XT-4711] 2 new files, 2 incomplete files, 1 unfinished file will be removed");
        assert!(text.body.contains("--- 3 of 5 ---\nFile: \"a\"\nSize: 1 byte\n"), "{}", text.body);
        let block = "File: \"core\"\nStatus: incomplete, its end has not come\nSo far: 2.0 KiB (2,048 bytes)\n\
             Will be removed about 2023-11-14 22:13:20 UTC unless it is continued.\n\
             If it is still wanted, ask the customer to continue the upload.\nUploaded by: XT-4711\n\n---";
        assert!(text.body.contains(block), "{}", text.body);

        notice.recipient.language = Language::De;
        let text = write(&notice).unwrap();
        assert_eq!(text.subject, "[XT-4711] 2 neue Dateien, 2 unvollständige Dateien, 1 unfertige Datei wird entfernt");
        for line in [
            "Stand: unvollständig, 37 % fehlen",
            "Bisher: 63 Bytes",
            "Der Absender kann sie fortsetzen; bis dahin gibt es nichts abzuholen.",
            "Stand: unvollständig, das Ende fehlt",
            "Wird etwa 2023-11-14 22:13:20 UTC entfernt, wenn sie nicht fortgesetzt wird.",
            "Wird sie noch gebraucht, bitten Sie den Kunden, sie fortzusetzen.",
        ] {
            assert!(text.body.lines().any(|have| have == line), "{line}: {}", text.body);
        }
    }
}
