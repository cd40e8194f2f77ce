//! Identifiers: 128 random bits each, shown as 32 lower-case hexadecimal digits.
//!
//! Each kind of thing has a type of its own, so that one is never passed for another. They are made
//! where randomness is at hand (`vault::random`), not here.

use std::fmt;
use std::str::FromStr;

/// The text is not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct IdError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Takes 16 bytes as they are.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;

            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                Ok(Self(bytes.try_into().map_err(|_| IdError)?))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self)
            }
        }
    };
}

id!(
    /// A ticket's encrypted share.
    ShareId
);
id!(
    /// A directory inside a share. The share's root has the share's own 16 bytes.
    DirectoryId
);
id!(
    /// One file in a share, with all its versions.
    ArtifactId
);
id!(
    /// One version of an artifact.
    VersionId
);
id!(
    /// One immutable encrypted object: an extent or a manifest.
    ObjectId
);
id!(
    /// A notice to people about a share.
    NoticeId
);
id!(
    /// A token of a ticket. It is no secret: it names the token.
    TokenId
);
id!(
    /// A house of data: its records, its keyring and its store bear the same one, and no other
    /// house's.
    HouseId
);

impl DirectoryId {
    /// The root directory of a share.
    pub const fn root_of(share: ShareId) -> Self {
        Self(share.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = ArtifactId::from_bytes([0xa5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("a5".parse::<ArtifactId>(), Err(IdError));
    }
}
