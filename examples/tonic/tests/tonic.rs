//! The example of a gRPC service, run as a newcomer would.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

#[tokio::test]
async fn a_grpc_service_answers_callers_with_a_token() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_example-tonic"))
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let hint = lines.next().unwrap().unwrap();
    let token = hint.split('\'').nth(1).unwrap();
    let credential = token.strip_prefix("authorization: ").unwrap();
    let address = hint.split(' ').rev().nth(1).unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
    let mut call = tonic::Request::new(tonic_health::pb::HealthCheckRequest::default());
    let refused = client
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await
        .unwrap_err();
    let metadata = call.metadata_mut();
    metadata.insert("authorization", credential.parse().unwrap());
    let answered = client.check(call).await;
    let greeted = lines.next().unwrap().unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert!(answered.is_ok());
    assert_eq!(greeted, "called by Billing");
}
