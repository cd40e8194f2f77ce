//! One thing that cannot be read, among many: it is named in the log, with what to do, and the others go on without it.

use crate::records::readable::is_news;
use crate::repo::Error;

/// What came of one of many; none if only this one is damaged, which is said once. What is temporary is no fault of it.
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
