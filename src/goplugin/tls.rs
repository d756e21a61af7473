//! AutoMTLS: host and plugin show each other certificates that they made for this one process. The host's comes by
//! `PLUGIN_CLIENT_CERT`, ours goes back in the handshake.
//!
//! Facts: go-plugin `mtls.go` (the host's certificate: P-521, a certificate authority by its own word), `client.go`
//! (`Client.Start`, `loadServerCert`) and `server.go` (`Serve`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a peer may take for its part of the TLS handshake. A host is on this machine.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The name that a host expects in our certificate (`ServerName` in `client.go`).
const SERVER_NAME: &str = "localhost";

/// Our half of AutoMTLS: a fresh key and certificate, and the one certificate that may connect.
#[derive(Clone)]
pub(super) struct AutoMtls {
    acceptor: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

/// Why AutoMTLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The host's certificate cannot be read.
    #[error("PLUGIN_CLIENT_CERT is not a certificate in PEM: {0}; the host that set it and this plugin do not fit")]
    ClientCertificate(String),
    /// Our own certificate could not be made.
    #[error("no certificate can be made for AutoMTLS: {0}")]
    OwnCertificate(#[from] rcgen::Error),
    /// rustls did not take what it was given.
    #[error("AutoMTLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl AutoMtls {
    /// Answers the certificate `client`, in PEM. `alpn` is the protocol spoken inside, where a host asks for one.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn answering(client: &str, alpn: Option<&[u8]>) -> Result<Self, TlsError> {
        let unreadable = |error: &dyn std::fmt::Display| TlsError::ClientCertificate(error.to_string());
        let client = CertificateDer::from_pem_slice(client.as_bytes()).map_err(|error| unreadable(&error))?;
        ParsedCertificate::try_from(&client).map_err(|error| unreadable(&error))?;

        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = CertificateParams::new([SERVER_NAME.to_owned()])?;
        parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        let certificate = parameters.self_signed(&key)?.der().clone();

        // Named here and not installed for the process: ring, the other provider, has no P-521.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let only = OnlyTheHost { certificate: client, provider: Arc::clone(&provider) };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(only))
            .with_single_cert(vec![certificate.clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
        config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
        // A host connects once; there is no session to resume.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// Our certificate as the handshake has it: DER in base64 without padding (`server.go`, `Serve`).
    pub(super) fn certificate(&self) -> String {
        BASE64_STANDARD_NO_PAD.encode(&self.certificate)
    }

    /// Makes a connection of the host secure.
    ///
    /// # Errors
    /// When the peer is not the host, breaks TLS, or says nothing for 10 s.
    pub(super) async fn accept<S>(&self, connection: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        timeout(HANDSHAKE, self.acceptor.accept(connection)).await?
    }
}

impl std::fmt::Debug for AutoMtls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AutoMtls").finish_non_exhaustive()
    }
}

/// Lets in who holds the key of this certificate. webpki's own verifier would refuse it, since it says of itself that it
/// is an authority; there is no chain to follow in any case.
#[derive(Debug)]
struct OnlyTheHost {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for OnlyTheHost {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if shown.as_ref() == self.certificate.as_ref() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
