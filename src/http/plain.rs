//! One question on one connection, answered with a text: for listeners beside the door that nobody
//! logs in to.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::HEAD_PATIENCE;

/// The longest head of a question, in bytes; the least that hyper takes.
const LONGEST: usize = 8 * 1024;

/// What is answered: a status, the type of the text, and the text.
pub struct Text {
    /// The status.
    pub status: StatusCode,
    /// The type.
    pub content_type: &'static str,
    /// The text.
    pub text: String,
}

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        let mut response = (self.status, Body::from(self.text)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        response
    }
}

/// Answers what a client asks by HTTP/1, and closes the connection. What it sends along is not read.
pub async fn answer_one<F: Future<Output = Text>>(socket: TcpStream, answer: impl Fn(Method, String) -> F) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.method().clone(), request.uri().path().to_owned());
        async move { Ok::<_, Infallible>(answer.await.into_response()) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(LONGEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    // Who goes away early hears nothing.
    let _ = serving.await;
}
