//! The operations of a manager process and its reports, as lines of text.

use std::{fmt, str::FromStr, time::Duration};

use tower_api_tokens::{TokenDigest, TokenId};

/// An operation of a manager process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    /// Issue a token with a unique name.
    Issue {
        name: String,
    },
    Rotate {
        token: TokenId,
        overlap: Duration,
    },
    Revoke {
        token: TokenId,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue { name } => write!(f, "issue {name}"),
            Self::Rotate { token, overlap } => write!(f, "rotate {token} {}", overlap.as_secs()),
            Self::Revoke { token } => write!(f, "revoke {token}"),
        }
    }
}

impl FromStr for Operation {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let words: Vec<_> = text.split(' ').collect();
        match words[..] {
            ["issue", name] => Ok(Self::Issue { name: name.into() }),
            ["rotate", token, seconds] => Ok(Self::Rotate {
                token: token.parse()?,
                overlap: Duration::from_secs(seconds.parse()?),
            }),
            ["revoke", token] => Ok(Self::Revoke {
                token: token.parse()?,
            }),
            _ => Err(format!("not an operation: {text}").into()),
        }
    }
}

/// A report on an operation, which is identified by a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Report {
    Begun(u64, Operation),
    Ended(u64, Outcome),
}

/// The outcome of an operation, as returned to the manager process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It succeeded, and issued a token.
    Made(TokenId, TokenDigest),
    /// It succeeded.
    Done,
    /// It had succeeded before, and issued this token.
    Repeated(TokenId),
    /// It failed, and may or may not have been carried out.
    Failed(String),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun(number, operation) => write!(f, "{number} begun {operation}"),
            Self::Ended(number, Outcome::Made(id, digest)) => {
                write!(f, "{number} made {id} {}", digest.to_base64url())
            }
            Self::Ended(number, Outcome::Done) => write!(f, "{number} done"),
            Self::Ended(number, Outcome::Repeated(id)) => write!(f, "{number} repeated {id}"),
            Self::Ended(number, Outcome::Failed(why)) => write!(f, "{number} failed {why}"),
        }
    }
}

impl FromStr for Report {
    type Err = NotUnderstood;

    fn from_str(line: &str) -> Result<Self, NotUnderstood> {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (number, verb, rest) = (word().parse()?, word(), word());
        let outcome = match verb {
            "begun" => return Ok(Self::Begun(number, rest.parse()?)),
            "made" => {
                let (id, digest) = rest.split_once(' ').unwrap_or_default();
                Outcome::Made(id.parse()?, TokenDigest::from_base64url(digest)?)
            }
            "done" => Outcome::Done,
            "repeated" => Outcome::Repeated(rest.parse()?),
            "failed" => Outcome::Failed(rest.into()),
            _ => return Err(format!("not a report: {line}").into()),
        };
        Ok(Self::Ended(number, outcome))
    }
}

pub(crate) type NotUnderstood = Box<dyn std::error::Error + Send + Sync>;
