//! How is a connection encrypted? With the TLS that the whole product uses; the certificate of the
//! server and its name are always checked.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, crypto,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{fault::PostgresFault, wire::Result};

/// Encrypts a connection. Without a file of certificates those of the system are trusted.
pub(super) async fn encrypt(
    stream: TcpStream,
    host: &str,
    ca: Option<&Path>,
) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| refused(&error))?;
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(|error| refused(&error))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let unreadable = |error: &dyn std::fmt::Display| PostgresFault::Refused {
                reason: format!("ca_file cannot be read: {error}"),
            };
            let found = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
        None => {
            // One of the system's that cannot be read is not a reason to trust none.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(refused(&"there is no certificate to trust; name one with ca_file"));
    }
    Ok(roots)
}

fn refused(error: &dyn std::fmt::Display) -> PostgresFault {
    PostgresFault::Refused { reason: format!("no encrypted connection: {error}") }
}
