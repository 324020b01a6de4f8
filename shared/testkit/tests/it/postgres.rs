use testkit::Postgres;

const INSERT: &str = "INSERT INTO t VALUES (1)";
const TABLE: &str = "CREATE TABLE t (n int)";

async fn count(server: &Postgres, database: &str) -> i64 {
    let client = server.connect(database).await.unwrap();
    client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn committed_rows_survive_kill_and_restart_on_the_same_port() {
    let server = Postgres::start().await.unwrap();
    let database = server.create_database().await.unwrap();
    server.execute(&database, TABLE).await.unwrap();
    let addr = server.addr();

    server.execute(&database, INSERT).await.unwrap();
    server.kill().await.unwrap();
    assert_eq!(server.pid(), None);
    assert!(server.connect(&database).await.is_err());
    server.restart().await.unwrap();
    assert_eq!(count(&server, &database).await, 1);

    server.execute(&database, INSERT).await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(count(&server, &database).await, 2);

    server.stop().await.unwrap();
    server.stop().await.unwrap();
    assert_eq!(server.pid(), None);
    server.restart().await.unwrap();
    assert_eq!((count(&server, &database).await, server.addr()), (2, addr));
}

#[tokio::test]
async fn each_database_is_its_own_and_can_be_a_clone() {
    let server = testkit::postgres().await;
    let (template, other) =
        (server.create_database().await.unwrap(), server.create_database().await.unwrap());
    server.execute(&template, &format!("{TABLE}; {INSERT}")).await.unwrap();
    server.execute(&other, TABLE).await.unwrap();
    assert_eq!((count(server, &template).await, count(server, &other).await), (1, 0));

    let clone = server.create_database_from(&template).await.unwrap();
    server.execute(&clone, INSERT).await.unwrap();
    assert_eq!((count(server, &template).await, count(server, &clone).await), (1, 2));
}

#[tokio::test]
async fn settings_are_durable_unless_changed() {
    let setting = async |server: &Postgres, name: &str| -> String {
        let client = server.connect("postgres").await.unwrap();
        client.query_one(&format!("SHOW {name}"), &[]).await.unwrap().get(0)
    };
    let shared = testkit::postgres().await;
    assert_eq!(setting(shared, "fsync").await, "on");
    assert_eq!(setting(shared, "synchronous_commit").await, "on");

    let small = Postgres::start_with(&[("fsync", "off"), ("shared_buffers", "8MB")]).await.unwrap();
    assert_eq!(setting(&small, "fsync").await, "off");
    assert_eq!(setting(&small, "shared_buffers").await, "8MB");
}

#[tokio::test]
async fn a_bad_setting_is_an_error_that_shows_the_log() {
    let error = Postgres::start_with(&[("shared_buffers", "many")]).await.err().unwrap();
    assert!(error.to_string().contains("shared_buffers"), "{error:#}");
}

#[tokio::test]
async fn a_paused_server_answers_when_it_is_resumed() {
    let server = Postgres::fast().await.unwrap();
    let client = server.connect("postgres").await.unwrap();
    server.pause().unwrap();
    let answer = client.query_one("SELECT 7", &[]);
    tokio::pin!(answer);
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), &mut answer).await;
    assert!(early.is_err());
    server.resume().unwrap();
    assert_eq!(answer.await.unwrap().get::<_, i32>(0), 7);
}
