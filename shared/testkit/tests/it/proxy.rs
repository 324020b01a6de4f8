use testkit::{Direction, FaultProxy, Redis};

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
