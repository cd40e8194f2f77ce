//! Header fields as types: what a stranger writes there is one of these, or refused.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64ct::{Base64, Encoding};

use crate::model::{FileName, Language};

/// The longest `Upload-Metadata`, in bytes.
const LONGEST_METADATA: usize = 8 * 1024;

/// A field that is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadField;

/// A field's text, if it is there once.
pub(super) fn text(headers: &HeaderMap, name: impl axum::http::header::AsHeaderName) -> Result<Option<&str>, BadField> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| BadField),
        _ => Err(BadField),
    }
}

/// A whole number of bytes, in digits only.
pub(super) fn number(
    headers: &HeaderMap,
    name: impl axum::http::header::AsHeaderName,
) -> Result<Option<u64>, BadField> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadField);
    }
    text.parse().map(Some).map_err(|_| BadField)
}

/// The SHA-256 in a field as `Repr-Digest` or `Content-Digest` (RFC 9530): others in it are not
/// looked at.
pub(super) fn sha256(headers: &HeaderMap, name: &HeaderName) -> Result<Option<[u8; 32]>, BadField> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    for member in text.split(',') {
        let Some((key, value)) = member.trim().split_once('=') else { return Err(BadField) };
        if key == "sha-256" {
            let inner = value.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).ok_or(BadField)?;
            return digest(inner).map(Some);
        }
    }
    Ok(None)
}

fn digest<const N: usize>(text: &str) -> Result<[u8; N], BadField> {
    let bytes = Base64::decode_vec(text).map_err(|_| BadField)?;
    bytes.try_into().map_err(|_| BadField)
}

/// A digest as `Repr-Digest` says it.
pub(super) fn repr_digest(sha256: &[u8; 32]) -> String {
    format!("sha-256=:{}:", Base64::encode_string(sha256))
}

/// The checksum of one part of an upload (`Upload-Checksum`, tus 1.0.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    /// SHA-1, which tus asks every server for. Nothing is protected by it.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

impl Checksum {
    /// What the field says, if it is there.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, BadField> {
        let Some(text) = text(headers, "upload-checksum")? else { return Ok(None) };
        match text.split_once(' ') {
            Some(("sha1", value)) => digest(value).map(|bytes| Some(Self::Sha1(bytes))),
            Some(("sha256", value)) => digest(value).map(|bytes| Some(Self::Sha256(bytes))),
            _ => Err(BadField),
        }
    }
}

/// The names that `Upload-Metadata` gives a new upload: `relativePath` if it has one, else
/// `filename` or `name`. Everything else in it is ignored.
pub(super) fn names_in_metadata(headers: &HeaderMap) -> Result<Vec<FileName>, BadField> {
    let text = text(headers, "upload-metadata")?.filter(|text| text.len() <= LONGEST_METADATA).ok_or(BadField)?;
    let value = |wanted: &str| {
        let mut pairs = text.split(',').map(|pair| pair.trim().split_once(' ').unwrap_or((pair.trim(), "")));
        pairs.find(|(key, _)| *key == wanted).map(|(_, value)| value).filter(|value| !value.is_empty())
    };
    let relative = match value("relativePath") {
        Some(value) => Some(Base64::decode_vec(value).map_err(|_| BadField)?),
        None => None,
    };
    // Uploaders say "null" where a file was chosen and no folder.
    let relative = relative.filter(|bytes| !bytes.is_empty() && bytes != b"null");
    let bytes = match relative {
        Some(bytes) => bytes,
        None => {
            Base64::decode_vec(value("filename").or_else(|| value("name")).ok_or(BadField)?).map_err(|_| BadField)?
        }
    };
    let names: Result<Vec<_>, _> =
        bytes.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(FileName::new).collect();
    names.ok().filter(|names| !names.is_empty()).ok_or(BadField)
}

/// Which part of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// `length` bytes from `offset` on; at least one.
    Some { offset: u64, length: u64 },
    /// Nothing of it that is there.
    Nothing,
}

/// The part of `size` bytes that `Range` asks for (RFC 9110, section 14). Several ranges, and what
/// is no range of bytes, mean the whole. `If-Range` must name the very version.
pub(super) fn part(headers: &HeaderMap, size: u64, etag: &str) -> Part {
    let Ok(Some(range)) = text(headers, header::RANGE) else { return Part::Whole };
    if let Some(validator) = headers.get(header::IF_RANGE)
        && validator.as_bytes() != etag.as_bytes()
    {
        return Part::Whole;
    }
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Part::Whole;
    };
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (first, last) {
        ("", suffix) => match number(suffix) {
            Some(0) => Part::Nothing,
            Some(_) if size == 0 => Part::Nothing,
            Some(length) => Part::Some { offset: size.saturating_sub(length), length: length.min(size) },
            None => Part::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(offset), _) if offset >= size && (last.is_empty() || number(last).is_some()) => Part::Nothing,
            (Some(offset), None) if last.is_empty() => Part::Some { offset, length: size - offset },
            (Some(offset), Some(last)) if last >= offset => {
                Part::Some { offset, length: last.min(size - 1) - offset + 1 }
            }
            _ => Part::Whole,
        },
    }
}

/// Whether `If-None-Match` names this version.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// `Content-Disposition` for a file of any name (RFC 6266, RFC 8187): no byte of the name acts in the
/// field.
pub(super) fn disposition(name: &FileName) -> HeaderValue {
    let plain: String = String::from_utf8_lossy(name.as_bytes())
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-._ ".contains(c) { c } else { '_' })
        .collect();
    let field = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", name.url_encoded());
    HeaderValue::from_str(&field).unwrap_or(HeaderValue::from_static("attachment"))
}

/// The language of who is not known yet: the first of `Accept-Language` that is spoken here.
pub(super) fn language(headers: &HeaderMap) -> Language {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let primary = |tag: &str| tag.split([';', '-']).next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut spoken = accepted.split(',').filter_map(|tag| match primary(tag).as_str() {
        "de" => Some(Language::De),
        "en" => Some(Language::En),
        _ => None,
    });
    spoken.next().unwrap_or_default()
}

/// One argument of a query, percent-decoded where it is UTF-8.
pub(super) fn argument(query: Option<&str>, wanted: &str) -> Option<String> {
    let mut pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, _)| *key == wanted)?;
    percent_encoding::percent_decode_str(value).decode_utf8().ok().map(|value| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn numbers_are_digits_and_come_once() {
        let number = |values: &[&str]| {
            let lines: Vec<_> = values.iter().map(|value| ("upload-offset", *value)).collect();
            number(&headers(&lines), "upload-offset")
        };
        assert_eq!(
            (number(&[]), number(&["0"]), number(&["18446744073709551615"])),
            (Ok(None), Ok(Some(0)), Ok(Some(u64::MAX)))
        );
        for wrong in ["", "-1", "+1", "1 ", "0x1", "18446744073709551616", "1.0", "é"] {
            assert_eq!(number(&[wrong]), Err(BadField), "{wrong}");
        }
        assert_eq!(number(&["1", "1"]), Err(BadField));
    }

    #[test]
    fn a_digest_survives_its_field_and_others_are_passed_over() {
        let name = HeaderName::from_static("repr-digest");
        let sha = [7; 32];
        let of = |value: &str| sha256(&headers(&[("repr-digest", value)]), &name);
        assert_eq!(of(&repr_digest(&sha)), Ok(Some(sha)));
        assert_eq!(of(&format!("md5=:AAAA:, {}", repr_digest(&sha))), Ok(Some(sha)));
        assert_eq!(of("sha-512=:AAAA:"), Ok(None));
        for wrong in ["sha-256", "sha-256=AAAA", "sha-256=:AAAA:", "sha-256=:!:"] {
            assert_eq!(of(wrong), Err(BadField), "{wrong}");
        }
    }

    #[test]
    fn checksums_are_sha1_or_sha256() {
        let of = |value: &str| Checksum::of(&headers(&[("upload-checksum", value)]));
        assert_eq!(
            of("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
            Ok(Some(Checksum::Sha1(
                *b"\x2a\xae\x6c\x35\xc9\x4f\xcf\xb4\x15\xdb\xe9\x5f\x40\x8b\x9c\xe9\x1e\xe8\x46\xed"
            )))
        );
        assert!(matches!(of(&format!("sha256 {}", Base64::encode_string(&[1; 32]))), Ok(Some(Checksum::Sha256(_)))));
        for wrong in ["md5 AAAA", "sha1", "sha1 AAAA", "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0="] {
            assert_eq!(of(wrong), Err(BadField), "{wrong}");
        }
    }

    #[test]
    fn metadata_names_a_file_or_a_path() {
        let of = |value: &str| {
            names_in_metadata(&headers(&[("upload-metadata", value)])).map(|names| {
                names.iter().map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()).collect::<Vec<_>>()
            })
        };
        let b64 = |text: &str| Base64::encode_string(text.as_bytes());
        assert_eq!(of(&format!("filename {}", b64("ä b.txt"))), Ok(vec!["ä b.txt".to_owned()]));
        assert_eq!(of(&format!("name {},type {}", b64("a"), b64("text/plain"))), Ok(vec!["a".to_owned()]));
        assert_eq!(
            of(&format!("filename {},relativePath {}", b64("a"), b64("d/e/a"))),
            Ok(vec!["d".to_owned(), "e".to_owned(), "a".to_owned()])
        );
        assert_eq!(of(&format!("relativePath {},filename {}", b64("null"), b64("a"))), Ok(vec!["a".to_owned()]));
        for wrong in
            [String::new(), "filename".to_owned(), format!("filename {}", b64("../x")), "filename !".to_owned()]
        {
            assert_eq!(of(&wrong), Err(BadField), "{wrong}");
        }
    }

    #[test]
    fn a_range_is_one_part_or_the_whole() {
        let of = |range: &str, size: u64| part(&headers(&[("range", range)]), size, "\"x\"");
        let some = |offset, length| Part::Some { offset, length };
        assert_eq!((of("bytes=0-0", 10), of("bytes=5-", 10), of("bytes=-3", 10)), (some(0, 1), some(5, 5), some(7, 3)));
        assert_eq!((of("bytes=0-99", 10), of("bytes=-99", 10)), (some(0, 10), some(0, 10)));
        assert_eq!(
            (of("bytes=10-", 10), of("bytes=0-", 0), of("bytes=-0", 10)),
            (Part::Nothing, Part::Nothing, Part::Nothing)
        );
        for whole in ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=", "bytes=--1"] {
            assert_eq!(of(whole, 10), Part::Whole, "{whole}");
        }
        let with = |validator: &str| part(&headers(&[("range", "bytes=1-"), ("if-range", validator)]), 10, "\"x\"");
        assert_eq!(
            (with("\"x\""), with("\"y\""), with("Tue, 01 Dec 2026 00:00:00 GMT")),
            (some(1, 9), Part::Whole, Part::Whole)
        );
    }

    #[test]
    fn no_name_acts_in_a_header() {
        for name in ["a\"b;c\\d", "ä.txt", "a\u{00a0}b", "x%0d%0ay"] {
            let field = disposition(&FileName::new(name.as_bytes()).unwrap());
            let text = field.to_str().unwrap();
            assert!(text.starts_with("attachment; filename=\"") && text.matches('"').count() == 2, "{text}");
        }
        assert_eq!(
            disposition(&FileName::new("ä b.txt".as_bytes()).unwrap()),
            "attachment; filename=\"_ b.txt\"; filename*=UTF-8''%C3%A4%20b.txt"
        );
    }

    #[test]
    fn the_language_is_the_first_that_is_spoken() {
        let of = |value: &str| language(&headers(&[("accept-language", value)]));
        assert_eq!(
            (of("de-AT,en;q=0.8"), of("fr, en, de"), of("fr"), of("")),
            (Language::De, Language::En, Language::En, Language::En)
        );
    }
}
