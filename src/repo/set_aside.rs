//! One thing that cannot be read, among many: it is named in the log, with what to do, and the
//! others go on without it.

use crate::model::{ArtifactId, SharePath};
use crate::records::readable::is_news;
use crate::repo::Error;

/// What came of one of many; none if only this one is damaged, which is said once. What is
/// temporary is no fault of it.
///
/// # Errors
/// If the records or the store do not answer just now.
pub(crate) fn or_left_out<T>(outcome: Result<T, Error>, what: &'static str, id: &[u8; 16]) -> Result<Option<T>, Error> {
    match outcome {
        Ok(thing) => Ok(Some(thing)),
        Err(error) if error.is_temporary() => Err(error),
        Err(error) => {
            let id = hex::encode(id);
            if is_news(what, &id) {
                tracing::error!(what, id, %error, "this is left out; run 'tacdrop store check', and restore it from a backup");
            }
            Ok(None)
        }
    }
}

/// A path for a list, or the sentence that stands in its place: one file that cannot be read takes
/// no list along. What is only temporary (a database that does not answer) is no fault of that
/// file.
pub(crate) fn shown_or_named(
    artifact: ArtifactId,
    path: Result<SharePath, Error>,
) -> Result<(Option<String>, Option<String>), Error> {
    match path {
        Ok(path) => Ok((Some(path.to_string()), None)),
        Err(error) if error.is_temporary() => Err(error),
        Err(error) => {
            Ok((None, Some(format!("artifact {artifact} has no readable path ({error}); run 'tacdrop store check'"))))
        }
    }
}
