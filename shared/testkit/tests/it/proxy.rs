use std::time::{Duration, Instant};
use testkit::{Direction, FaultProxy, Redis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn connect(
    server: &Redis,
    proxy: &FaultProxy,
) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    // Time is decided by the faults, not by a deadline.
    let config = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let client = redis::Client::open(server.url_at(proxy.addr()))?;
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn increment(connection: &mut redis::aio::MultiplexedConnection) -> redis::RedisResult<i64> {
    redis::cmd("INCR").arg("n").query_async(connection).await
}

async fn stored(server: &Redis) -> i64 {
    redis::from_redis_value(server.command(&["INCRBY", "n", "0"]).await.unwrap()).unwrap()
}

#[tokio::test]
async fn faults_come_and_go() {
    let server = Redis::start_with(&[("appendonly", "no")]).await.unwrap();
    let proxy = FaultProxy::start(server.addr()).await.unwrap();
    let mut connection = connect(&server, &proxy).await.unwrap();
    assert_eq!(increment(&mut connection).await.unwrap(), 1);

    // Swallowed reply, then a cut: done on the server, unknown to the client.
    proxy.swallow(Direction::ToClient);
    let mut other = connection.clone();
    let unknown = tokio::spawn(async move { increment(&mut other).await });
    while stored(&server).await != 2 {
        tokio::task::yield_now().await;
    }
    proxy.cut();
    assert!(unknown.await.unwrap().is_err());
    proxy.heal();
    let mut connection = connect(&server, &proxy).await.unwrap();
    assert_eq!(increment(&mut connection).await.unwrap(), 3);

    // A stalled request arrives when the fault is over.
    proxy.stall(Direction::ToServer);
    let mut other = connection.clone();
    let late = tokio::spawn(async move { increment(&mut other).await });
    tokio::task::yield_now().await;
    assert_eq!(stored(&server).await, 3);
    proxy.heal();
    assert_eq!(late.await.unwrap().unwrap(), 4);

    // Cut in the middle of a request: not done.
    proxy.cut_after(Direction::ToServer, 5);
    assert!(increment(&mut connection).await.is_err());
    assert_eq!(stored(&server).await, 4);

    // Cut in the middle of a reply: done.
    let mut connection = connect(&server, &proxy).await.unwrap();
    proxy.cut_after(Direction::ToClient, 1);
    assert!(increment(&mut connection).await.is_err());
    assert_eq!(stored(&server).await, 5);

    proxy.refuse();
    while connect(&server, &proxy).await.is_ok() {
        tokio::task::yield_now().await;
    }
    proxy.heal();
    while connect(&server, &proxy).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// Both ends of a connection through a proxy.
async fn connected() -> (FaultProxy, TcpStream, TcpStream) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(server.local_addr().unwrap()).await.unwrap();
    let client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (accepted, _) = server.accept().await.unwrap();
    (proxy, client, accepted)
}

#[tokio::test]
async fn a_half_closed_connection_goes_on_in_the_other_direction() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (proxy, client, server) = connected().await;
        let (mut deaf, mut heard) = match direction {
            Direction::ToServer => (server, client),
            Direction::ToClient => (client, server),
        };
        proxy.half_close(direction);
        let mut end = [0; 8];
        assert_eq!(deaf.read(&mut end).await.unwrap(), 0);
        heard.write_all(b"into the void").await.unwrap();
        proxy.heal();
        deaf.write_all(b"still on").await.unwrap();
        heard.read_exact(&mut end).await.unwrap();
        assert_eq!(&end, b"still on");
        // Until that one closes.
        assert_eq!(proxy.open(), 1);
        drop(deaf);
        assert_eq!(heard.read(&mut end).await.unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn delayed_bytes_come_late_and_whole() {
    let (proxy, mut client, mut server) = connected().await;
    let by = Duration::from_millis(30);
    proxy.delay(Direction::ToServer, by);
    let begun = Instant::now();
    client.write_all(b"slowly").await.unwrap();
    let mut read = [0; 6];
    server.read_exact(&mut read).await.unwrap();
    // A lower bound: no machine is too slow for it.
    assert!(&read == b"slowly" && begun.elapsed() >= by);
}

#[tokio::test]
async fn a_cut_that_has_not_happened_is_due() {
    let (proxy, mut client, mut server) = connected().await;
    proxy.cut_after(Direction::ToServer, 4);
    assert!(proxy.cut_is_due());
    client.write_all(b"four").await.unwrap();
    let mut read = Vec::new();
    let _ = server.read_to_end(&mut read).await;
    assert_eq!((read.as_slice(), proxy.cut_is_due()), (&b"four"[..], false));
    proxy.cut_after(Direction::ToClient, 4);
    proxy.heal();
    assert!(!proxy.cut_is_due());
}
