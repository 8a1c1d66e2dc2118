//! Decides which certificates of the daemon's streaming server are trusted.
//!
//! The daemon's certificate is whatever its configuration names, mostly one that it signed itself, and no
//! authority is known here. But the address came over the daemon's own socket, and a connection that does not
//! leave this machine passes nobody in between. So any certificate is taken there, and none elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};

/// Whether a connection stays on this machine: the kernel gives one to an address of its own that very address
/// on this side too.
pub(super) fn stays_here(local: SocketAddr, peer: SocketAddr) -> bool {
    peer.ip().is_loopback() || local.ip() == peer.ip()
}

/// TLS to this machine.
pub(super) fn connector() -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyOfThisMachine(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes any certificate whose owner signs the handshake.
#[derive(Debug)]
struct AnyOfThisMachine(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyOfThisMachine {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::stays_here;

    #[test]
    fn only_connections_within_this_machine_stay_here() {
        let stays =
            |local: &str, peer: &str| stays_here(local.parse().unwrap(), peer.parse().unwrap());
        assert!(stays("127.0.0.1:40000", "127.0.0.2:443"));
        assert!(stays("[::1]:40000", "[::1]:443"));
        assert!(stays("10.0.0.5:40000", "10.0.0.5:443"));
        assert!(!stays("10.0.0.5:40000", "10.0.0.6:443"));
    }
}
