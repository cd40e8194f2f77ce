//! What is said when something is not done: the whole error space that a customer or an engineer
//! can meet.
//!
//! Each refusal is one sentence about what happened and what to do, in two languages, and says
//! whether trying again can help. Doors turn the [`Kind`] into their protocol's code and send the
//! sentence along.

use crate::language::Language;

/// What kind of refusal it is: doors choose their protocol's code by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such thing, or it is not for this login to know.
    NotFound,
    /// It exists, and this login may not.
    Denied,
    /// The request cannot be carried out as it stands: trying again changes nothing.
    Permanent,
    /// The same request may succeed later.
    Temporary,
    /// No such operation here.
    Unsupported,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $word:literal $kind:ident $en:literal $de:literal)+) => {
        /// Why something was not done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $name,)+
        }

        impl Refusal {
            /// Every refusal there is.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word for it in the audit trail: a word that has been written once never changes.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// Its kind.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)+ }
            }

            /// One or two sentences for the person who met it.
            pub const fn sentence(self, language: Language) -> &'static str {
                match (self, language) {
                    $((Self::$name, Language::En) => $en, (Self::$name, Language::De) => $de,)+
                }
            }
        }
    };
}

refusals! {
    /// The path names nothing that this login may know of.
    NoSuchFile "no-such-file" NotFound
        "There is no file or directory of this name."
        "Es gibt keine Datei und kein Verzeichnis mit diesem Namen."
    /// A path that is written as a directory's, where there is nothing and a file was to be made.
    NoSuchDirectory "no-such-directory" NotFound
        "There is no directory of this name. Make it first, or leave out the slash at the end."
        "Es gibt kein Verzeichnis mit diesem Namen. Bitte zuerst anlegen, oder den Schrägstrich am Ende weglassen."
    /// A file with the name of the ticket, where paths that begin with it lead to the share itself.
    OwnReference "own-reference" Permanent
        "This name leads to the share itself. Give the file another name, or write a slash behind it."
        "Dieser Name führt in die Freigabe selbst. Bitte einen anderen Dateinamen nehmen, oder einen Schrägstrich dahinter schreiben."
    /// A directory where a file is needed.
    IsDirectory "is-directory" Permanent
        "This is a directory; a file is needed here."
        "Das ist ein Verzeichnis; hier wird eine Datei gebraucht."
    /// A file where a directory is needed.
    NotDirectory "not-directory" Permanent
        "This is a file; a directory is needed here."
        "Das ist eine Datei; hier wird ein Verzeichnis gebraucht."
    /// The name is taken.
    AlreadyExists "already-exists" Permanent
        "This name exists already. Choose another one."
        "Diesen Namen gibt es schon. Bitte einen anderen wählen."
    /// RMDIR of a directory with something in it.
    NotEmpty "not-empty" Permanent
        "The directory is not empty. Remove what is in it first."
        "Das Verzeichnis ist nicht leer. Bitte zuerst entfernen, was darin liegt."
    /// A directory moved into itself.
    IntoItself "into-itself" Permanent
        "A directory cannot be moved into itself."
        "Ein Verzeichnis kann nicht in sich selbst verschoben werden."
    /// A rename from one ticket's share to another's.
    AcrossShares "across-shares" Permanent
        "Files cannot be moved between tickets. Download it and upload it there."
        "Dateien können nicht zwischen Tickets verschoben werden. Bitte herunterladen und dort hochladen."
    /// A name with characters that no name may have.
    BadName "bad-name" Permanent
        "This name holds characters that are not allowed: '/', control characters, or characters that reverse the direction of text. Rename the file and send it again."
        "Dieser Name enthält unzulässige Zeichen: '/', Steuerzeichen oder Zeichen, die die Textrichtung umkehren. Bitte die Datei umbenennen und erneut senden."
    /// Longer or deeper than the limits allow.
    PathTooLong "path-too-long" Permanent
        "The name or path is too long: 255 bytes a name, 1024 bytes and 32 levels a path."
        "Der Name oder Pfad ist zu lang: 255 Bytes je Name, 1024 Bytes und 32 Ebenen je Pfad."
    /// A write to a closed ticket's share.
    TicketClosed "ticket-closed" Denied
        "This ticket is closed and its share can only be read. Answer to the ticket or call support to have it reopened, then send the file again."
        "Dieses Ticket ist geschlossen, seine Ablage kann nur gelesen werden. Bitte auf das Ticket antworten oder den Support anrufen, um es wieder öffnen zu lassen, und die Datei dann erneut senden."
    /// A customer writes to `from-support/`.
    FromSupportOnly "from-support-only" Denied
        "Only support engineers write to 'from-support'. Put your files into the directory above it."
        "In 'from-support' schreiben nur Support-Engineers. Bitte die Dateien in das Verzeichnis darüber legen."
    /// An engineer writes outside of `from-support/`.
    CustomerOnly "customer-only" Denied
        "Engineers write to 'from-support' only: what the customer sent stays as it came."
        "Engineers schreiben nur in 'from-support': was der Kunde gesendet hat, bleibt, wie es kam."
    /// Something about the root or another fixed place is to be changed.
    FixedPlace "fixed-place" Denied
        "This place is part of every share and cannot be changed."
        "Dieser Ort gehört zu jeder Ablage und kann nicht verändert werden."
    /// A write through a read-only handle, or into a virtual place.
    ReadOnly "read-only" Denied
        "This can only be read."
        "Das kann nur gelesen werden."
    /// A read through a handle that was opened for writing only.
    NotOpenForReading "not-open-for-reading" Denied
        "This file was not opened for reading."
        "Diese Datei wurde nicht zum Lesen geöffnet."
    /// A device's ticket: it takes files and gives nothing away.
    UploadOnly "upload-only" Denied
        "This ticket is for sending only: files can be stored here, and nothing can be read, listed, renamed or deleted. Ask support for what you need."
        "Dieses Ticket ist nur zum Senden: Hier können Dateien abgelegt, aber nicht gelesen, aufgelistet, umbenannt oder gelöscht werden. Bitte beim Support erfragen, was gebraucht wird."
    /// An auditor changes something.
    AuditorOnly "auditor-only" Denied
        "This login reads everything and changes nothing."
        "Dieser Zugang liest alles und ändert nichts."
    /// A ticket denies its customers to list what they sent.
    NoListing "no-listing" Denied
        "What was sent to this ticket cannot be listed. Files can be stored here all the same."
        "Was zu diesem Ticket gesendet wurde, kann nicht aufgelistet werden. Dateien können trotzdem abgelegt werden."
    /// A ticket denies its customers to read what they sent.
    NoReading "no-reading" Denied
        "What was sent to this ticket cannot be read back. Ask support for what you need."
        "Was zu diesem Ticket gesendet wurde, kann nicht zurückgelesen werden. Bitte beim Support erfragen, was gebraucht wird."
    /// A ticket denies its customers to replace what is whole.
    NoOverwriting "no-overwriting" Denied
        "Files of this ticket cannot be replaced once they are whole. Send it under another name."
        "Dateien dieses Tickets können nicht ersetzt werden, sobald sie vollständig sind. Bitte unter einem anderen Namen senden."
    /// A ticket denies its customers to delete.
    NoDeleting "no-deleting" Denied
        "Nothing of this ticket can be deleted. Ask support to remove it."
        "Von diesem Ticket kann nichts gelöscht werden. Bitte den Support bitten, es zu entfernen."
    /// The ticket went to another engineer while this one had something open in it.
    NotAssigned "not-assigned" Denied
        "This ticket was assigned to somebody else, so nothing of it can be read or written here any more."
        "Dieses Ticket wurde jemand anderem zugewiesen; hier kann nichts mehr davon gelesen oder geschrieben werden."
    /// A contact is no longer one of those who may see the ticket, and has something open in it.
    NotNamed "not-named" Denied
        "This login may no longer see this ticket, so nothing of it can be read or written here. Ask support to be added to it again."
        "Dieser Zugang darf dieses Ticket nicht mehr sehen; hier kann nichts mehr davon gelesen oder geschrieben werden. Bitte den Support bitten, wieder hinzugefügt zu werden."
    /// The login was ended: disabled, or a new token.
    LoginEnded "login-ended" Denied
        "This login is no longer valid. Ask support for the current access data."
        "Dieser Zugang gilt nicht mehr. Bitte beim Support nach den aktuellen Zugangsdaten fragen."
    /// Another session continued this upload.
    Fenced "fenced" Permanent
        "Another connection has continued this upload, so this one cannot write to it any more."
        "Eine andere Verbindung hat dieses Hochladen fortgesetzt; diese hier kann nicht mehr schreiben."
    /// The version whose bytes an upload goes on with was shredded meanwhile.
    Shredded "shredded" Permanent
        "The version of this file that you continue was removed meanwhile. Send the whole file again."
        "Die Version dieser Datei, die Sie fortsetzen, wurde inzwischen entfernt. Bitte die ganze Datei erneut senden."
    /// A read of a version that is still arriving, by somebody who does not send it.
    StillReceiving "still-receiving" Temporary
        "This file is still being received. Try again when its upload is finished."
        "Diese Datei wird noch empfangen. Bitte nach dem Ende des Hochladens erneut versuchen."
    /// A read of a file of which a newer version arrives or was cut, by who sends it.
    NewerUnfinished "newer-unfinished" Temporary
        "A newer version of this file is arriving, or was cut. Send it to its end first; older versions, which are whole, are in '.versions'."
        "Eine neuere Version dieser Datei kommt gerade an oder wurde abgebrochen. Bitte erst zu Ende senden; ältere, vollständige Versionen liegen in '.versions'."
    /// CLOSE with bytes in the middle missing.
    Incomplete "incomplete" Permanent
        "Parts of this file never arrived, so it is kept as incomplete. Continue the upload to complete it."
        "Teile dieser Datei sind nie angekommen; sie gilt als unvollständig. Bitte das Hochladen fortsetzen."
    /// CLOSE of a file that is nearly all zeros which were never sent.
    TooManyZeros "too-many-zeros" Permanent
        "More than 4 GiB of this file were left out as zeros, so it is kept as incomplete. Compress it and send it again."
        "Mehr als 4 GiB dieser Datei wurden als Nullen ausgelassen; sie gilt als unvollständig. Bitte komprimieren und erneut senden."
    /// Verification failed.
    Damaged "damaged" Permanent
        "What is stored of this file is damaged, so it is not delivered. Support has been told; please send it again."
        "Was von dieser Datei gespeichert ist, ist beschädigt und wird nicht ausgeliefert. Der Support weiß Bescheid; bitte erneut senden."
    /// The file is larger than a file may be.
    FileTooLarge "file-too-large" Permanent
        "The file is larger than this server accepts. Ask support for another way."
        "Die Datei ist größer, als dieser Server annimmt. Bitte beim Support nach einem anderen Weg fragen."
    /// The share is full.
    QuotaExceeded "quota-exceeded" Permanent
        "The space of this ticket is used up. Ask support for more."
        "Der Platz dieses Tickets ist aufgebraucht. Bitte beim Support um mehr bitten."
    /// More scattered pieces than a version can have.
    TooScattered "too-scattered" Permanent
        "The file was sent in too many scattered pieces. Send it again from start to end."
        "Die Datei wurde in zu vielen verstreuten Stücken gesendet. Bitte von Anfang bis Ende erneut senden."
    /// Too many names in the share.
    TooManyNames "too-many-names" Permanent
        "This share holds as many files and directories as it may. Pack them into one archive."
        "Diese Ablage enthält so viele Dateien und Verzeichnisse, wie sie darf. Bitte zu einem Archiv packen."
    /// Names that a login made, moved and removed.
    TooManyChanges "too-many-changes" Temporary
        "This login has made, moved or removed as many names as it may for now. More become possible little by little, all of them within a day; files can be sent meanwhile."
        "Dieser Zugang hat so viele Namen angelegt, verschoben oder entfernt, wie er vorerst darf. Nach und nach werden weitere möglich, binnen eines Tages alle; Dateien können weiter gesendet werden."
    /// Too many handles.
    TooManyHandles "too-many-handles" Temporary
        "Too many files are open in this session. Close some and try again."
        "In dieser Sitzung sind zu viele Dateien offen. Bitte einige schließen und erneut versuchen."
    /// The disk is full.
    DiskFull "disk-full" Temporary
        "The server has no space left at the moment. The operators see this; try again later."
        "Der Server hat im Moment keinen Platz mehr. Die Betreiber sehen das; bitte später erneut versuchen."
    /// The disk or the database failed.
    Storage "storage" Temporary
        "The server could not store or read this at the moment. Nothing was acknowledged; try again."
        "Der Server konnte das im Moment nicht speichern oder lesen. Nichts wurde bestätigt; bitte erneut versuchen."
    /// A digest that has to be computed first.
    DigestPending "digest-pending" Temporary
        "This digest is not computed yet, and the server is at work on it or on others. Ask again in a few minutes."
        "Diese Prüfsumme ist noch nicht berechnet; der Server arbeitet daran oder an anderen. Bitte in einigen Minuten erneut anfragen."
    /// A digest of a part of a file.
    DigestOfPart "digest-of-part" Permanent
        "Digests are given of whole files only: from the first byte to the last, in one block."
        "Prüfsummen gibt es nur von ganzen Dateien: vom ersten bis zum letzten Byte, in einem Block."
    /// None of the digests that a client knows is given here.
    UnknownDigest "unknown-digest" Permanent
        "None of these digests is given here. Ask for sha256."
        "Keine dieser Prüfsummen gibt es hier. Bitte sha256 anfragen."
    /// The server is going down.
    ShuttingDown "shutting-down" Temporary
        "The server is about to restart. Try again in a minute; a cut upload can be continued."
        "Der Server startet gleich neu. Bitte in einer Minute erneut versuchen; ein unterbrochenes Hochladen kann fortgesetzt werden."
    /// A handle that does not exist.
    BadHandle "bad-handle" Permanent
        "This file is not open."
        "Diese Datei ist nicht offen."
    /// A request that breaks its protocol's rules.
    BadRequest "bad-request" Permanent
        "The request is malformed."
        "Die Anfrage ist fehlerhaft."
    /// Symbolic and hard links.
    NoLinks "no-links" Unsupported
        "Links are not supported. Send the file itself."
        "Verknüpfungen werden nicht unterstützt. Bitte die Datei selbst senden."
    /// A request that tacdrop does not know.
    NotSupported "not-supported" Unsupported
        "This operation is not supported."
        "Diese Operation wird nicht unterstützt."
}

impl Refusal {
    /// Whether the same request may succeed later.
    pub const fn is_temporary(self) -> bool {
        matches!(self.kind(), Kind::Temporary)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.sentence(Language::En))
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.as_str()).collect();
        assert_eq!(words.len(), Refusal::ALL.len());
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
        assert!(words.iter().all(|word| word.split('-').all(is_part)), "{words:?}");
    }

    #[test]
    fn every_refusal_is_a_sentence_in_both_languages() {
        for refusal in Refusal::ALL {
            for language in [Language::En, Language::De] {
                let sentence = refusal.sentence(language);
                assert!(sentence.ends_with('.') && sentence.len() > 10, "{refusal:?} {language}");
            }
            assert_ne!(refusal.sentence(Language::En), refusal.sentence(Language::De));
        }
    }
}
