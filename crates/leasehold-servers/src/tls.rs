//! TLS in front of a server that speaks none.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::thread::Listening;

/// Decrypts connections and passes on what is in them; on a thread of its own, ends when dropped.
#[derive(Debug)]
pub struct Front {
    listening: Listening,
    authority: String,
}

impl Front {
    /// Starts it before the server at `to`, on a free loopback port, with a certificate for `localhost` and
    /// `127.0.0.1` by an authority of its own.
    pub fn start(to: SocketAddr) -> Front {
        let (config, authority) = identity().expect("keys can be made");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serve = move |client| serve(client, acceptor.clone(), to);
        let listening = Listening::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), serve);
        Front {
            listening: listening.expect("there is a free loopback port and a thread"),
            authority,
        }
    }

    /// Where it listens, as a URL, `https://localhost:PORT`.
    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.listening.address().port())
    }

    /// The certificate of the authority, as PEM: what a client has to trust (`SSL_CERT_FILE`).
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

/// A server's keys and certificate, and the certificate that vouches for it.
fn identity() -> Result<(ServerConfig, String), Box<dyn std::error::Error>> {
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "leasehold's tests");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())?;
    Ok((config, issuer.pem()))
}

async fn serve(client: TcpStream, acceptor: TlsAcceptor, to: SocketAddr) {
    let _ = client.set_nodelay(true);
    // It fails where the client does not trust us.
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let _ = server.set_nodelay(true);
    // It fails where one of the two is gone, and so is the other then.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
