//! Digests that a sender uploads beside a file: `NAME.sha256`, `NAME.md5`. What they are called,
//! and what they hold.

use crate::name::FileName;

/// The most bytes that are looked at in a sidecar; a longer one is not understood.
pub const MAX_SIDECAR: u64 = 4096;

/// The digests that senders use. What tacdrop itself relies on is SHA-256 alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// RFC 1321.
    Md5,
    /// FIPS 180-4.
    Sha1,
    /// FIPS 180-4.
    Sha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Md5, Self::Sha1, Self::Sha256];

    /// The word for it in records, JSON and names of sidecars.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// As people write it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Bytes of a digest.
    const fn bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

impl std::str::FromStr for Algorithm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text).ok_or(())
    }
}

/// What comparing a file with a sender's digest showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The file is what the sender has.
    Matches,
    /// It is not.
    Differs,
    /// The sidecar states no digest of this file.
    NotUnderstood,
}

impl Verdict {
    /// The word for it in records and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Differs => "differs",
            Self::NotUnderstood => "not-understood",
        }
    }
}

impl std::str::FromStr for Verdict {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Matches, Self::Differs, Self::NotUnderstood].into_iter().find(|one| one.as_str() == text).ok_or(())
    }
}

/// A line as GNU's `sha256sum` and its kin write it (coreutils manual, "cksum output modes"): the
/// digest in hexadecimal, a space, `*` for a `binary` file or another space, the name; with a
/// backslash in front of it all where the name needs escapes.
pub fn checksum_line(digest: &str, binary: bool, name: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(digest.len() + name.len() + 4);
    if name.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r')) {
        line.push(b'\\');
    }
    line.extend_from_slice(digest.as_bytes());
    line.extend_from_slice(if binary { b" *" } else { b"  " });
    for byte in name {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            other => line.push(*other),
        }
    }
    line.push(b'\n');
    line
}

/// If this is a sidecar's name: of which file, and by which algorithm.
pub fn described_by(name: &FileName) -> Option<(FileName, Algorithm)> {
    let bytes = name.as_bytes();
    let dot = bytes.iter().rposition(|byte| *byte == b'.')?;
    let (base, suffix) = bytes.split_at_checked(dot)?;
    let is =
        |algorithm: &Algorithm| suffix.get(1..).is_some_and(|s| s.eq_ignore_ascii_case(algorithm.as_str().as_bytes()));
    let algorithm = Algorithm::ALL.into_iter().find(is)?;
    Some((FileName::new(base).ok()?, algorithm))
}

/// The names that a sidecar of this file may have.
pub fn sidecars_of(name: &FileName) -> impl Iterator<Item = (FileName, Algorithm)> {
    Algorithm::ALL.into_iter().flat_map(move |algorithm| {
        let suffix = algorithm.as_str();
        let names = [suffix.to_owned(), suffix.to_uppercase()].map(|suffix| {
            FileName::new(&[name.as_bytes(), b".", suffix.as_bytes()].concat()).ok().map(|name| (name, algorithm))
        });
        names.into_iter().flatten()
    })
}

/// The digest that a sidecar states of the file `name`. These forms are understood:
///
/// - nothing but the digest in hexadecimal;
/// - lines `DIGEST  NAME` or `DIGEST *NAME`, as GNU coreutils' md5sum writes them (a name may have directories before it);
/// - lines `MD5 (NAME) = DIGEST`, as BSD's md5 and `md5sum --tag` write them.
///
/// Of several lines those count that name the file; if they contradict each other, or none does,
/// nothing is stated. Comments (`#`) and empty lines are skipped.
pub fn stated_digest(content: &[u8], algorithm: Algorithm, name: &FileName) -> Option<Vec<u8>> {
    if content.len() as u64 > MAX_SIDECAR {
        return None;
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let lines: Vec<&[u8]> = content
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .collect();
    if let [only] = lines[..]
        && let Some(digest) = digest(only, algorithm)
    {
        return Some(digest);
    }
    let mut stated = lines.iter().filter_map(|line| line_digest(line, algorithm, name));
    let first = stated.next()?;
    stated.all(|other| other == first).then_some(first)
}

fn line_digest(line: &[u8], algorithm: Algorithm, name: &FileName) -> Option<Vec<u8>> {
    let tag = line.split(|byte| *byte == b'(').next().unwrap_or_default().trim_ascii_end();
    let is_tag = [algorithm.as_str(), algorithm.title()].iter().any(|word| tag.eq_ignore_ascii_case(word.as_bytes()));
    let (stated, named) = if is_tag {
        // A name may hold `) = ` itself: the last one counts.
        let inside = line.get(line.iter().position(|byte| *byte == b'(')? + 1..)?;
        let at = inside.windows(4).rposition(|four| four == b") = ")?;
        (inside.get(at + 4..)?, inside.get(..at)?)
    } else {
        let end = line.iter().position(u8::is_ascii_whitespace)?;
        let (stated, rest) = line.split_at_checked(end)?;
        let rest = rest.trim_ascii_start();
        (stated, rest.strip_prefix(b"*").unwrap_or(rest))
    };
    let last = named.rsplit(|byte| matches!(byte, b'/' | b'\\')).next()?;
    let same = FileName::new(last).is_ok_and(|last| last.folded() == name.folded());
    if same { digest(stated, algorithm) } else { None }
}

fn digest(text: &[u8], algorithm: Algorithm) -> Option<Vec<u8>> {
    hex::decode(text).ok().filter(|digest| digest.len() == algorithm.bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
    const OTHER: &str = "0cc175b9c0f1b6a831c399e269772661";

    fn name(text: &str) -> FileName {
        FileName::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_sidecar_is_known_by_its_name() {
        let of = |text: &str| described_by(&name(text)).map(|(base, algorithm)| (base.to_string(), algorithm));
        assert_eq!(of("a.tgz.md5"), Some(("a.tgz".to_owned(), Algorithm::Md5)));
        assert_eq!(of("a.SHA256"), Some(("a".to_owned(), Algorithm::Sha256)));
        assert_eq!(of("a.sha1"), Some(("a".to_owned(), Algorithm::Sha1)));
        for other in [".md5", "md5", "a.md5.gz", "a.md", "..md5", "amd5"] {
            assert_eq!(of(other), None, "{other}");
        }
        let names: Vec<_> = sidecars_of(&name("a")).map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["a.md5", "a.MD5", "a.sha1", "a.SHA1", "a.sha256", "a.SHA256"]);
        assert_eq!(sidecars_of(&name(&"x".repeat(250))).count(), 4, "names that would be too long are none");
    }

    #[test]
    fn each_form_states_its_digest() {
        let upper = MD5.to_uppercase();
        for content in [
            MD5.to_owned(),
            format!("{upper}\r\n"),
            format!("{MD5}  a b.tgz\n"),
            format!("{MD5} *a b.tgz"),
            format!("{MD5}  ./dump/a b.tgz\n"),
            format!("{MD5}  C:\\dump\\a b.tgz\r\n"),
            format!("# made by supportconfig\n\n{OTHER}  other\n{MD5}  a b.tgz\n"),
            format!("MD5 (a b.tgz) = {MD5}\n"),
            format!("\u{feff}MD5(a b.tgz) = {MD5}\nMD5 (other) = {OTHER}\n"),
            format!("{MD5}  a b.tgz\n{MD5}  dir/a b.tgz\n"),
        ] {
            let stated = stated_digest(content.as_bytes(), Algorithm::Md5, &name("a b.tgz"));
            assert_eq!(stated.map(hex::encode).as_deref(), Some(MD5), "{content}");
        }
    }

    #[test]
    fn what_does_not_speak_of_the_file_states_nothing() {
        for content in [
            String::new(),
            "no digest".to_owned(),
            format!("{MD5}  other\n"),
            format!("{MD5}\n{OTHER}\n"),
            format!("{MD5}  a\n{OTHER}  a\n"),
            format!("{MD5}00  a"),
            format!("SHA256 (a) = {MD5}"),
            format!("MD5 (a = {MD5}"),
            format!("{MD5}  a/\n"),
            "x".repeat(5000),
        ] {
            assert_eq!(stated_digest(content.as_bytes(), Algorithm::Md5, &name("a")), None, "{content}");
        }
        let long = format!("{}\n{MD5}", "# \n".repeat(2000));
        assert_eq!(stated_digest(long.as_bytes(), Algorithm::Md5, &name("a")), None);
        assert_eq!(stated_digest(MD5.as_bytes(), Algorithm::Sha256, &name("a")), None, "too short for it");
    }

    #[test]
    fn names_that_are_not_utf8_are_compared_as_bytes() {
        let content = [MD5.as_bytes(), b"  a\xff"].concat();
        assert!(stated_digest(&content, Algorithm::Md5, &FileName::new(b"a\xff").unwrap()).is_some());
        assert!(stated_digest(&content, Algorithm::Md5, &FileName::new(b"a\xfe").unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(content in prop::collection::vec(any::<u8>(), 0..200), tagged in any::<bool>()) {
            let content = if tagged { [b"MD5 (", &content[..]].concat() } else { content };
            let _ = stated_digest(&content, Algorithm::Md5, &name("a"));
        }
    }
}
