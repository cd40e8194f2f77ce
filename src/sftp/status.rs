//! Refusals and outcomes -> SFTP's status codes (draft-ietf-secsh-filexfer-02, section 7).

use russh_sftp::protocol::StatusCode;

use crate::model::{Kind, Refusal};

/// The code for a refusal. Its sentence travels beside it.
pub(crate) const fn code(refusal: Refusal) -> StatusCode {
    match (refusal, refusal.kind()) {
        (Refusal::BadRequest, _) => StatusCode::BadMessage,
        (_, Kind::NotFound) => StatusCode::NoSuchFile,
        (_, Kind::Denied) => StatusCode::PermissionDenied,
        (_, Kind::Permanent | Kind::Temporary) => StatusCode::Failure,
        (_, Kind::Unsupported) => StatusCode::OpUnsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_the_codes_that_they_act_on() {
        for (refusal, expected) in [
            (Refusal::NoSuchFile, StatusCode::NoSuchFile),
            (Refusal::TicketClosed, StatusCode::PermissionDenied),
            (Refusal::AlreadyExists, StatusCode::Failure),
            (Refusal::DiskFull, StatusCode::Failure),
            (Refusal::NoLinks, StatusCode::OpUnsupported),
            (Refusal::BadRequest, StatusCode::BadMessage),
        ] {
            assert_eq!(code(refusal), expected);
        }
        for refusal in Refusal::ALL {
            assert!(!matches!(code(*refusal), StatusCode::Ok | StatusCode::Eof | StatusCode::NoConnection));
        }
    }
}
