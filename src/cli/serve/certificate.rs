//! The files of the certificate, and what is said about them.

use std::time::{Duration, Instant};

/// How often it is said that the certificate expires soon.
const REMIND_INTERVAL: Duration = Duration::from_secs(24 * 3600);

#[cfg(feature = "tls")]
mod files {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::time::{Instant, SystemTime};

    use crate::cli::failure::Failure;
    use crate::cli::serve::certificate::Reminder;
    use crate::cli::serve::config_file;
    use crate::cli::serve::layers::Configuration;
    use crate::serve::{BadFile, Certificate, Settings};

    /// The certificate that a configuration names, read and checked.
    #[derive(Clone, Default)]
    pub(in crate::cli::serve) struct Loaded {
        certificate: Option<Certificate>,
        /// The files as they were read.
        contents: Vec<(PathBuf, Vec<u8>)>,
        warnings: Vec<String>,
    }

    impl Loaded {
        /// Reads the files.
        pub(in crate::cli::serve) fn of(configuration: &Configuration) -> Result<Self, Failure> {
            let Some((chain_file, key_file)) = configuration.certificate_files() else {
                return Ok(Self::default());
            };
            let (chain, key) = (read(chain_file)?, read(key_file)?);
            let certificate = Certificate::from_pem(&chain, &key).map_err(|wrong| {
                let (name, file) = match wrong.file {
                    BadFile::Chain => ("certificate", chain_file),
                    BadFile::Key => ("key", key_file),
                };
                let context = format!("cannot use the {name} `{}`", file.display());
                let hint = wrong.hint.clone();
                Failure::usage(anyhow::Error::new(wrong).context(context), hint)
            })?;
            let mut warnings = certificate.warnings(SystemTime::now());
            let permissions = std::fs::metadata(key_file).map(|metadata| metadata.permissions());
            if permissions.is_ok_and(|permissions| is_open_to_all(&permissions)) {
                let file = key_file.display();
                warnings.push(format!(
                    "every user of this machine may read the key `{file}`: `chmod o-r {file}`"
                ));
            }
            let contents = vec![(chain_file.to_owned(), chain), (key_file.to_owned(), key)];
            Ok(Self { certificate: Some(certificate), contents, warnings })
        }

        /// Refuses to replace a valid certificate by one that no client accepts at this time.
        pub(in crate::cli::serve) fn check_instead_of(&self, old: &Self) -> Result<(), Failure> {
            let now = SystemTime::now();
            let untimely = |loaded: &Self| loaded.certificate.as_ref()?.untimely(now);
            match untimely(self).filter(|_| old.certificate.is_some() && untimely(old).is_none()) {
                Some(wrong) => {
                    let hint = wrong.hint.clone();
                    Err(Failure::usage(wrong, hint))
                }
                None => Ok(()),
            }
        }

        /// The files as they were read.
        pub(in crate::cli::serve) fn contents(&self) -> &[(PathBuf, Vec<u8>)] {
            &self.contents
        }

        /// Says what is not quite right.
        pub(in crate::cli::serve) fn warn(&self) {
            for warning in &self.warnings {
                tracing::warn!("{warning}");
            }
        }

        /// Says once a day that the certificate expires soon, or has expired.
        pub(in crate::cli::serve) fn remind(&self, reminder: &mut Reminder) {
            if !reminder.is_due(Instant::now()) {
                return;
            }
            let warn = |own: &Certificate| own.expiry_warning(SystemTime::now());
            if let Some(warning) = self.certificate.as_ref().and_then(warn) {
                tracing::warn!("{warning}");
            }
        }

        /// Settings with this certificate.
        pub(in crate::cli::serve) fn with(&self, settings: Settings) -> Settings {
            Settings { certificate: self.certificate.clone(), ..settings }
        }

        /// What it means, as the rest of a sentence.
        pub(in crate::cli::serve) fn meaning(&self) -> String {
            match &self.certificate {
                Some(certificate) => format!(
                    "speaks TLS on its TCP addresses, with a certificate that is valid until {}",
                    httpdate::fmt_http_date(certificate.not_after())
                ),
                None => "speaks no TLS".to_owned(),
            }
        }
    }

    fn is_open_to_all(permissions: &Permissions) -> bool {
        permissions.mode() & 0o004 != 0
    }

    fn read(path: &Path) -> Result<Vec<u8>, Failure> {
        config_file::read(path).map_err(|error| {
            let context = format!("cannot read `{}`", path.display());
            let hint = "name a file that the server's user may read";
            Failure::usage(anyhow::Error::new(error).context(context), hint)
        })
    }
}

/// When something was said that is to be said once a day.
pub(super) struct Reminder {
    told: Instant,
}

impl Reminder {
    /// It was said at this time.
    pub(super) fn told(at: Instant) -> Self {
        Self { told: at }
    }

    /// Whether it is to be said again, which then counts as done.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there is no certificate"))]
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now.duration_since(self.told) >= REMIND_INTERVAL;
        if is_due {
            self.told = now;
        }
        is_due
    }
}

/// Without the feature `tls` there is nothing to read.
#[cfg(not(feature = "tls"))]
mod files {
    use std::path::PathBuf;

    use crate::cli::failure::Failure;
    use crate::cli::serve::layers::Configuration;
    use crate::serve::Settings;

    #[derive(Clone, Default)]
    pub(in crate::cli::serve) struct Loaded;

    impl Loaded {
        #[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
        pub(in crate::cli::serve) fn of(_: &Configuration) -> Result<Self, Failure> {
            Ok(Self)
        }

        #[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
        pub(in crate::cli::serve) fn check_instead_of(&self, _: &Self) -> Result<(), Failure> {
            Ok(())
        }

        pub(in crate::cli::serve) fn contents(&self) -> &[(PathBuf, Vec<u8>)] {
            &[]
        }

        pub(in crate::cli::serve) fn warn(&self) {}

        pub(in crate::cli::serve) fn remind(&self, _: &mut super::Reminder) {}

        pub(in crate::cli::serve) fn with(&self, settings: Settings) -> Settings {
            settings
        }

        pub(in crate::cli::serve) fn meaning(&self) -> String {
            "speaks no TLS".to_owned()
        }
    }
}

pub(super) use files::Loaded;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_expires_soon_is_told_once_a_day() {
        let start = Instant::now();
        let mut reminder = Reminder::told(start);
        let seconds: Vec<u64> = (0..3 * 24 * 3600)
            .filter(|&second| reminder.is_due(start + Duration::from_secs(second)))
            .collect();
        assert_eq!(seconds, [24 * 3600, 2 * 24 * 3600], "the start told it first");
    }
}
