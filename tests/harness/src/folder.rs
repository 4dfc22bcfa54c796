// SPDX-License-Identifier: Apache-2.0
//! The folder of one run: a copy of the sample to edit, what is generated for it, logs, and each program's working folder.

use crate::credentials::{ServerCertificate, TokenIssuer, write_private};
use crate::net::Net;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    // Removes the folder when the run ends, unless it is to be kept.
    _temporary: Option<tempfile::TempDir>,
}

impl RunFolder {
    /// A new folder that is gone with the run; with TIPHYS_KEEP set it stays, to look at.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(prefix: &str) -> Result<RunFolder> {
        let temporary = tempfile::Builder::new().prefix(prefix).tempdir()?;
        let path = temporary.path().canonicalize()?;
        for folder in ["config", "logs", "certificates"] {
            fs::create_dir(path.join(folder))?;
        }
        let temporary = match std::env::var_os("TIPHYS_KEEP") {
            Some(_) => {
                println!("kept: {}", temporary.keep().display());
                None
            }
            None => Some(temporary),
        };
        Ok(RunFolder { path, _temporary: temporary })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log of one program.
    pub fn log(&self, program: &str) -> PathBuf {
        self.path.join("logs").join(format!("{program}.log"))
    }

    /// The YAML that the control plane serves.
    pub fn config(&self) -> PathBuf {
        self.path.join("config")
    }

    /// Copies the YAML of `sample` into the configuration, for the addresses of `net`.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn copy_sample(&self, sample: &Path, net: &Net) -> Result<()> {
        let entries = fs::read_dir(sample).with_context(|| format!("cannot read {}", sample.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = net.rewrite(&fs::read_to_string(&path)?);
                fs::write(self.config().join(path.file_name().context("a file without a name")?), text)?;
            }
        }
        Ok(())
    }

    /// Makes what bookinfo needs and no source tree should hold: the certificate of the gateway's TLS port, the certificate of the
    /// server behind the passthrough, and the issuer of tokens with one token.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_bookinfo_credentials(&self) -> Result<()> {
        let echo = ServerCertificate::new("echo.bookinfo.example")?;
        write_private(&self.config().join("certificate.yaml"), &echo.secret("istio-system", "echo-certificate"))?;
        fs::write(self.certificates("echo-ca.pem"), &echo.ca)?;
        let secure = ServerCertificate::new("secure.bookinfo.example")?;
        fs::write(self.certificates("secure-ca.pem"), &secure.ca)?;
        fs::write(self.certificates("secure.pem"), &secure.certificate)?;
        write_private(&self.certificates("secure.key"), &secure.key)?;
        let issuer = TokenIssuer::new("tokens.bookinfo.example")?;
        let authentication = issuer.request_authentication("istio-system", ("istio", "ingressgateway"));
        fs::write(self.config().join("jwt.yaml"), authentication)?;
        write_private(&self.path.join("token"), &issuer.token("admin")?)
    }

    /// A file of the certificates' folder.
    pub fn certificates(&self, file: &str) -> PathBuf {
        self.path.join("certificates").join(file)
    }

    /// Writes a file of the configuration, in one step, as an editor does that writes beside and renames.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let beside = self.path.join(format!("{file}.new"));
        fs::write(&beside, text)?;
        fs::rename(&beside, self.config().join(file)).with_context(|| format!("cannot write {file}"))
    }

    /// Replaces each `from` in a file of the configuration.
    ///
    /// # Errors
    /// When the file does not have it.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(self.config().join(file)).with_context(|| format!("cannot read {file}"))?;
        if !text.contains(from) {
            bail!("{file} does not have {from:?}");
        }
        self.write(file, &text.replace(from, to))
    }

    /// Removes a file of the configuration.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&self, file: &str) -> Result<()> {
        fs::remove_file(self.config().join(file)).with_context(|| format!("cannot remove {file}"))
    }
}
