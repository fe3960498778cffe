//! Authentication without a service: in a handler, a guard, or a framework with request types of
//! its own.

mod attribution;
mod refusals;
mod waiting;

use http::{Request, request::Parts};

/// A request for "/" with these header fields, without its body.
fn parts(fields: &[(&'static str, &str)]) -> Parts {
    parts_of("GET", fields)
}

fn parts_of(method: &str, fields: &[(&'static str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri("/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}
