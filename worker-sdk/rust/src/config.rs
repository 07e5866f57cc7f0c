//! The settings of a worker, from the environment unless given.

use std::{path::PathBuf, time::Duration};

use rand::Rng;

use crate::{
    Secrets,
    limits::{CONCURRENCY_DEFAULT, GRACE_DEFAULT},
};

/// How a worker presents itself to NATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    None,
    /// A file with a JWT and its key, as `nsc` writes it.
    File(PathBuf),
    UserAndPassword(String, String),
}

/// How a worker connects, what it calls itself, and how much it takes on.
#[derive(Clone, Debug)]
pub struct Options {
    /// `BATON_NATS_URL`; default `nats://127.0.0.1:4222`. Several, separated by commas, are one cluster.
    pub nats_url: String,
    /// `BATON_NATS_CREDENTIALS`, or `BATON_NATS_USER` with `BATON_NATS_PASSWORD`; default none.
    pub credentials: Credentials,
    /// `BATON_NATS_INBOX_PREFIX`: where answers to this process go, when its NATS user may not use `_INBOX`.
    pub inbox_prefix: Option<String>,
    /// `BATON_WORKER_NAME`: unique in the department, letters, digits, `-` and `_`; default the department and eight
    /// random digits.
    pub name: Option<String>,
    /// `BATON_WORKER_BUILD`: which build this is, for people; default `unknown`.
    pub build: String,
    /// `OTEL_SERVICE_NAME`: the service in traces; default `<department>-worker`.
    pub service: Option<String>,
    /// `BATON_WORKER_CONCURRENCY`: handlers of one function that run at once; default 256.
    pub concurrency: usize,
    /// `BATON_WORKER_GRACE_MS`: how long a drain waits for running handlers; default 25 s.
    pub grace: Duration,
    /// `BATON_SECRETS_DIR`: a folder with a file for each secret; default the variables `BATON_SECRET_<NAME>`.
    pub secrets: Secrets,
}

/// A setting that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{variable} must be {wanted}, not {found:?}")]
pub struct Error {
    variable: &'static str,
    wanted: &'static str,
    found: String,
}

impl Options {
    /// What the environment says, and the defaults for what it does not.
    ///
    /// # Errors
    ///
    /// When a variable that should hold a number does not.
    pub fn from_env() -> Result<Self, Error> {
        #[expect(clippy::disallowed_methods, reason = "this is the place where settings are read")]
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(get: impl Fn(&'static str) -> Option<String>) -> Result<Self, Error> {
        let number = |variable, wanted| {
            get(variable).map(|found| {
                found.parse().ok().filter(|n| *n > 0).ok_or(Error { variable, wanted, found })
            })
        };
        let credentials = match (get("BATON_NATS_CREDENTIALS"), get("BATON_NATS_USER")) {
            (Some(file), _) => Credentials::File(file.into()),
            (None, Some(user)) => {
                Credentials::UserAndPassword(user, get("BATON_NATS_PASSWORD").unwrap_or_default())
            }
            (None, None) => Credentials::None,
        };
        let concurrency: Option<u32> =
            number("BATON_WORKER_CONCURRENCY", "a number of handlers above 0").transpose()?;
        let grace_ms: Option<u32> =
            number("BATON_WORKER_GRACE_MS", "a number of milliseconds above 0").transpose()?;
        Ok(Self {
            credentials,
            nats_url: get("BATON_NATS_URL").unwrap_or_else(|| "nats://127.0.0.1:4222".into()),
            inbox_prefix: get("BATON_NATS_INBOX_PREFIX"),
            name: get("BATON_WORKER_NAME"),
            build: get("BATON_WORKER_BUILD").unwrap_or_else(|| "unknown".into()),
            service: get("OTEL_SERVICE_NAME"),
            concurrency: concurrency.map_or(CONCURRENCY_DEFAULT, |n| n as usize),
            grace: grace_ms.map_or(GRACE_DEFAULT, |ms| Duration::from_millis(ms.into())),
            secrets: get("BATON_SECRETS_DIR")
                .map_or(Secrets::Environment, |folder| Secrets::Folder(folder.into())),
        })
    }
}

/// A name that no other process of the department has.
pub(crate) fn random_name(department: &str) -> String {
    format!("{department}-{:08x}", rand::rng().random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let options = Options::from_variables(|_| None).unwrap();
        assert_eq!(options.nats_url, "nats://127.0.0.1:4222");
        assert_eq!(options.credentials, Credentials::None);
        assert_eq!((options.concurrency, options.grace), (256, Duration::from_secs(25)));
    }

    #[test]
    fn a_setting_that_is_no_number_is_named() {
        let set = |name| (name == "BATON_WORKER_CONCURRENCY").then(|| "many".to_owned());
        let error = Options::from_variables(set).unwrap_err();
        assert_eq!(
            error.to_string(),
            "BATON_WORKER_CONCURRENCY must be a number of handlers above 0, not \"many\""
        );
    }

    #[test]
    fn a_user_comes_with_a_password() {
        let set = |name: &str| match name {
            "BATON_NATS_USER" => Some("finance".to_owned()),
            "BATON_NATS_PASSWORD" => Some("secret".to_owned()),
            _ => None,
        };
        let options = Options::from_variables(set).unwrap();
        assert_eq!(
            options.credentials,
            Credentials::UserAndPassword("finance".into(), "secret".into())
        );
    }
}
