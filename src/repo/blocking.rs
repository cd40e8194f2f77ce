//! Work that waits for the disk or computes for long, on threads where it holds up nobody.

use tokio::runtime::Handle;

use crate::repo::Error;
use crate::store::StoreError;

/// Starts `work` at once on a thread of the runtime where it may block; what comes of it is
/// awaited.
///
/// # Errors
/// Those of `work`. If it came to no end, because it panicked or the runtime ends, that is said of
/// `what`.
pub(crate) fn blocking<T, E>(
    runtime: &Handle,
    what: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> impl Future<Output = Result<T, Error>> + Send
where
    T: Send + 'static,
    E: Send + 'static,
    Error: From<E>,
{
    let done = runtime.spawn_blocking(work);
    async move { Ok(done.await.map_err(|_| given_up(what))??) }
}

/// What blocking work is answered with that came to no end. It may succeed when it is tried again.
pub(crate) fn given_up(what: &str) -> Error {
    StoreError::Io(std::io::Error::other(format!("{what} was given up"))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_said_to_be_given_up() {
        let here = Handle::current();
        assert_eq!(blocking(&here, "the work", || Ok::<_, StoreError>(7)).await.unwrap(), 7);
        let failed = blocking(&here, "the work", || Err::<(), _>(StoreError::Full)).await.unwrap_err();
        assert!(matches!(failed, Error::Store(StoreError::Full)), "{failed}");
        let lost = blocking(&here, "the work", || -> Result<(), Error> { panic!("on purpose") }).await.unwrap_err();
        assert!(lost.is_temporary() && lost.to_string().ends_with("the work was given up"), "{lost}");
    }
}
