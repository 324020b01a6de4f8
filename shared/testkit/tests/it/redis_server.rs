use redis::Value;
use testkit::Redis;

async fn setting(server: &Redis, name: &str) -> String {
    let reply = server.command(&["CONFIG", "GET", name]).await.unwrap();
    redis::from_redis_value::<Vec<String>>(reply).unwrap().remove(1)
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_and_restart_on_the_same_port() {
    let server = Redis::start().await.unwrap();
    let (addr, pid) = (server.addr(), server.pid());
    for n in 1..=3 {
        server.command(&["XADD", "stream", "*", "n", &n.to_string()]).await.unwrap();
        match n {
            1 => server.kill().await.unwrap(),
            2 => server.stop().await.unwrap(),
            _ => {}
        }
        server.restart().await.unwrap();
    }
    assert_eq!(server.command(&["XLEN", "stream"]).await.unwrap(), Value::Int(3));
    assert_eq!(server.addr(), addr);
    assert_ne!(server.pid(), pid);

    server.restart_empty().await.unwrap();
    assert_eq!(server.command(&["XLEN", "stream"]).await.unwrap(), Value::Int(0));
}

#[tokio::test]
async fn settings_are_those_of_production_unless_weakened() {
    let shared = testkit::redis().await;
    assert_eq!(setting(shared, "appendonly").await, "yes");
    assert_eq!(setting(shared, "appendfsync").await, "always");
    assert_eq!(setting(shared, "no-appendfsync-on-rewrite").await, "no");
    assert_eq!(setting(shared, "maxmemory").await, (2_u64 << 30).to_string());
    assert_eq!(setting(shared, "maxmemory-policy").await, "noeviction");
    assert_eq!(setting(shared, "save").await, "");

    let weak = Redis::start_with(&[("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")]).await.unwrap();
    assert_eq!(setting(&weak, "appendonly").await, "no");
    assert_eq!(setting(&weak, "maxmemory-policy").await, "allkeys-lru");
}

#[tokio::test]
async fn a_paused_server_answers_when_it_is_resumed() {
    let server = Redis::start_with(&[("appendonly", "no")]).await.unwrap();
    let mut connection = server.connect().await.unwrap();
    server.pause().unwrap();
    let ping = redis::cmd("PING");
    let answer = ping.query_async::<String>(&mut connection);
    tokio::pin!(answer);
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), &mut answer).await;
    assert!(early.is_err());
    server.resume().unwrap();
    assert_eq!(answer.await.unwrap(), "PONG");
}
