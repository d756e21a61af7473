//! A host made with rustls, and those who are not the host.

use rcgen::{BasicConstraints, IsCa, Issuer, PKCS_ECDSA_P521_SHA512};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::*;

/// What a certificate of go-plugin's says (`generateCert` in `mtls.go`).
fn go_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    parameters
}

/// A certificate as go-plugin makes one, and its key.
fn go_certificate() -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
    (go_parameters().self_signed(&key).unwrap(), key)
}

fn pem(certificate: &rcgen::Certificate) -> String {
    // rcgen's own PEM is not built in.
    let text = base64::prelude::BASE64_STANDARD.encode(certificate.der());
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A client that trusts the plugin's certificate alone, as a host does, and shows the certificate it is given.
fn client(ours: &AutoMtls, shown: Option<(&rcgen::Certificate, &KeyPair)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ours.certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let Some((certificate, key)) = shown else { return builder.with_no_client_auth() };
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = provider().key_provider.load_private_key(key).unwrap();
    // Unlike rustls's usual way this does not refuse a key that is not the certificate's.
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.der().clone()], key));
    builder.with_client_cert_resolver(Arc::new(shown))
}

/// Both ends of a handshake, and what our end says of it.
async fn connect(
    ours: &AutoMtls,
    client: ClientConfig,
) -> io::Result<(impl AsyncRead + AsyncWrite, TlsStream<impl AsyncRead + AsyncWrite + Unpin>)> {
    let (near, far) = tokio::io::duplex(4096);
    let name = ServerName::try_from("localhost").unwrap();
    let (theirs, accepted) = tokio::join!(TlsConnector::from(Arc::new(client)).connect(name, far), ours.accept(near));
    Ok((theirs?, accepted?))
}

#[tokio::test]
async fn the_host_is_let_in_and_speaks_h2() {
    let (certificate, key) = go_certificate();
    let ours = AutoMtls::answering(&pem(&certificate), Some(b"h2")).unwrap();
    let mut config = client(&ours, Some((&certificate, &key)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (theirs, mut accepted) = connect(&ours, config).await.unwrap();
    assert_eq!(accepted.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut read, mut write) = tokio::io::split(theirs);
    write.write_all(b"ping").await.unwrap();
    write.flush().await.unwrap();
    let mut heard = [0; 4];
    accepted.read_exact(&mut heard).await.unwrap();
    accepted.write_all(&heard).await.unwrap();
    accepted.flush().await.unwrap();
    read.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ping");
}

#[tokio::test]
async fn a_host_without_alpn_is_let_in_where_none_is_asked_for() {
    let (certificate, key) = go_certificate();
    let ours = AutoMtls::answering(&pem(&certificate), None).unwrap();
    let (_, accepted) = connect(&ours, client(&ours, Some((&certificate, &key)))).await.unwrap();
    assert_eq!(accepted.get_ref().1.alpn_protocol(), None);
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let (certificate, key) = go_certificate();
    let (other, other_key) = go_certificate();
    // The host's certificate says of itself that it is an authority; that counts for nothing.
    let child_key = KeyPair::generate().unwrap();
    let child = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let issuer = Issuer::new(go_parameters(), &key);
    let child = child.signed_by(&child_key, &issuer).unwrap();
    let ours = AutoMtls::answering(&pem(&certificate), None).unwrap();
    for (who, shown) in [
        ("nobody", None),
        ("another", Some((&other, &other_key))),
        ("a child", Some((&child, &child_key))),
        ("a thief of the certificate", Some((&certificate, &other_key))),
    ] {
        let (near, far) = tokio::io::duplex(4096);
        let connector = TlsConnector::from(Arc::new(client(&ours, shown)));
        let name = ServerName::try_from("localhost").unwrap();
        let (_, accepted) = tokio::join!(connector.connect(name, far), ours.accept(near));
        assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::InvalidData, "{who}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up() {
    let ours = AutoMtls::answering(&pem(&go_certificate().0), None).unwrap();
    let (near, _silent) = tokio::io::duplex(4096);
    assert_eq!(ours.accept(near).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn our_certificate_is_unpadded_base64_of_der_and_new_each_time() {
    let host = pem(&go_certificate().0);
    let certificates: Vec<String> = (0..2).map(|_| AutoMtls::answering(&host, None).unwrap().certificate()).collect();
    for certificate in &certificates {
        let der = BASE64_STANDARD_NO_PAD.decode(certificate).unwrap();
        ParsedCertificate::try_from(&CertificateDer::from(der)).unwrap();
    }
    assert_ne!(certificates[0], certificates[1]);
}

#[test]
fn a_certificate_that_cannot_be_read_is_the_variables_fault() {
    let cut = pem(&go_certificate().0).replace("MII", "AAA");
    for text in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &cut] {
        let error = AutoMtls::answering(text, None).unwrap_err().to_string();
        assert!(error.starts_with("PLUGIN_CLIENT_CERT is not a certificate in PEM: "), "{error}");
    }
}
