//! How strongly what came was encrypted on its way: which of the SSH listeners took it.

use std::fmt;
use std::str::FromStr;

/// The listener that a connection came by, and with it the algorithms that it may have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The main one: nothing weak is offered there.
    #[default]
    Modern,
    /// The one for old devices, with SHA-1 and CBC: somebody on the way may have read or changed
    /// what it took.
    Legacy,
}

impl Transport {
    /// The word for it in records, JSON and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        }
    }

    /// Whether it deserves a mark.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Legacy)
    }

    /// Of something that came by both: the weaker one.
    pub fn or_weaker(self, other: Self) -> Self {
        self.max(other)
    }
}

/// The door that somebody came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// SFTP, SCP and commands.
    #[default]
    Ssh,
    /// The HTTP door.
    Http,
}

impl Door {
    /// The word for it in the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Transport {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "modern" => Ok(Self::Modern),
            "legacy" => Ok(Self::Legacy),
            _ => Err("a transport is 'modern' or 'legacy'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r44_the_weaker_transport_wins() {
        use Transport::{Legacy, Modern};
        for (one, other, both) in [(Modern, Modern, Modern), (Modern, Legacy, Legacy), (Legacy, Modern, Legacy)] {
            assert_eq!(one.or_weaker(other), both);
        }
        for transport in [Modern, Legacy] {
            assert_eq!(transport.as_str().parse(), Ok(transport));
            assert_eq!(serde_json::to_string(&transport).unwrap(), format!("\"{transport}\""));
        }
        assert!("weak".parse::<Transport>().is_err());
    }
}
