//! The service itself: `/healthz`, and `/` with something from the database.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{Error, database, variable};

/// Serves until the process ends. Cloud Run sends nothing before the port is open.
pub(crate) async fn serve(database: &Path) -> Result<(), Error> {
    let port = variable("PORT", "8080");
    let port: u16 = port.parse().map_err(|_| format!("PORT is {port:?}, which is no port"))?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await?;
    println!("serving on port {}", listener.local_addr()?.port());
    loop {
        let (connection, _) = listener.accept().await?;
        let database = database.to_owned();
        let answer = service_fn(move |request: Request<Incoming>| {
            let answer = answer(&database, request.uri().path());
            async { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(async move {
            // A client that went away is no failure of ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), answer).await;
        });
    }
}

fn answer(database: &Path, path: &str) -> Response<Full<Bytes>> {
    let (status, text) = match (path, database::summary(database)) {
        ("/healthz", Ok(_)) => (StatusCode::OK, "ok\n".to_owned()),
        ("/", Ok(summary)) => (StatusCode::OK, summary),
        ("/" | "/healthz", Err(error)) => {
            eprintln!("cloud-run-migrations: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n".to_owned())
        }
        _ => (StatusCode::NOT_FOUND, "not found\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
