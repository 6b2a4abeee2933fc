//! One HTTP/1.1 connection without TLS, and nothing on top of it: for the floor, and to ask the program's API.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::request::Builder;
use axum::http::response::Parts;
use axum::http::{Method, header};
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Outcome;

/// A connection.
pub(crate) struct Client {
    send: SendRequest<Body>,
    authorization: Option<String>,
}

impl Client {
    /// Connects; `token` is shown with every request.
    pub(crate) async fn connect(address: SocketAddr, token: Option<&str>) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends when the client is dropped.
        tokio::spawn(connection);
        let authorization = token.map(|token| format!("Bearer {token}"));
        Ok(Self { send, authorization })
    }

    /// Asks, and reads the whole answer.
    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: Option<&str>) -> Outcome<(Parts, Vec<u8>)> {
        self.send.ready().await?;
        let mut request: Builder = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = match body {
            Some(json) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(json.to_owned()))?,
            None => request.body(Body::empty())?,
        };
        let (parts, mut body) = self.send.send_request(request).await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        Ok((parts, bytes))
    }
}
