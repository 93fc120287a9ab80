use super::*;
use crate::aws::canned::{self, Canned};
use crate::clock::SystemClock;
use crate::config::NewTables;

fn table(canned: &Canned) -> DynamoDbTable {
    DynamoDbTable::new(
        Client::new(&canned.config()),
        StateTables::of("app"),
        Arc::new(SystemClock),
    )
}

const LEASE: &str = r#"{"leaseKey":{"S":"p/s"},"leaseCounter":{"N":"4"},"leaseOwner":{"S":"you"},
    "checkpoint":{"S":"LATEST"},"throughputKBps":{"N":"3.1"},"other":{"L":[]}}"#;

fn expected() -> Expected {
    Expected {
        owner: Some(WorkerId::new("me")),
        counter: 3,
    }
}

async fn release(canned: &Canned) -> Result<Written<Lease>, TableError> {
    let key = LeaseKey::new("p/s");
    table(canned)
        .update_lease(&key, &expected(), &LeaseChange::Release)
        .await
}

#[tokio::test]
async fn a_refused_write_brings_the_row_that_refused_it() {
    let code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    let canned = Canned::new([
        canned::answer(400, &format!(r#"{{"__type":"{code}","Item":{LEASE}}}"#)),
        canned::answer(400, &format!(r#"{{"__type":"{code}","message":"m"}}"#)),
    ]);
    let Written::Refused(Some(lease)) = release(&canned).await.unwrap() else {
        panic!("expected the row");
    };
    assert_eq!(
        (lease.owner, lease.counter, lease.shard.as_str()),
        (Some(WorkerId::new("you")), 4, "s")
    );
    assert_eq!(release(&canned).await.unwrap(), Written::Refused(None));
    assert!(canned.asked()[0].contains(r#""ReturnValuesOnConditionCheckFailure":"ALL_OLD""#));
}

#[tokio::test]
async fn a_write_that_failed_says_whether_it_may_have_been_applied() {
    for (answer, applied) in [
        (canned::error(400, "ThrottlingException"), "no: slow down"),
        (
            canned::error(400, "ProvisionedThroughputExceededException"),
            "no: slow down",
        ),
        (
            canned::error(400, "TransactionConflictException"),
            "no: slow down",
        ),
        (canned::error(500, "InternalServerError"), "perhaps"),
        (canned::answer(502, "<html>"), "perhaps"),
        (canned::error(503, "ServiceUnavailable"), "no: repeat"),
        (
            canned::error(400, "AccessDeniedException"),
            "no: a person must act",
        ),
        (
            canned::error(400, "ResourceNotFoundException"),
            "no: a person must act",
        ),
        (canned::error(400, "ValidationException"), "no: a person must act"),
    ] {
        let error = release(&Canned::new([answer.clone()])).await.unwrap_err();
        let seen = match error {
            TableError::Throttled(_) => "no: slow down",
            TableError::Unanswered(_) => "perhaps",
            TableError::Unavailable(_) => "no: repeat",
            TableError::Refused(_) => "no: a person must act",
        };
        assert_eq!(seen, applied, "{answer:?}");
    }
    // No answer at all: the connection broke.
    let error = release(&Canned::default()).await.unwrap_err();
    assert!(matches!(error, TableError::Unanswered(_)), "{error}");
}

#[tokio::test]
async fn a_read_that_got_no_answer_changed_nothing() {
    let error = table(&Canned::default()).leases().await.unwrap_err();
    assert!(matches!(error, TableError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_scan_reads_all_pages_and_passes_over_rows_that_are_no_leases() {
    let metrics = r#"{"leaseKey":{"S":"w"},"entityType":{"S":"WORKER_METRIC_STATS"}}"#;
    let canned = Canned::new([
        canned::ok(&format!(
            r#"{{"Items":[{LEASE},{metrics}],"LastEvaluatedKey":{{"leaseKey":{{"S":"w"}}}}}}"#
        )),
        canned::ok(&format!(r#"{{"Items":[{LEASE}]}}"#)),
    ]);
    assert_eq!(table(&canned).leases().await.unwrap().len(), 2);
    let asked = canned.asked();
    assert!(asked.iter().all(|a| a.contains(r#""ConsistentRead":true"#)));
    assert!(asked[1].contains(r#""ExclusiveStartKey":{"leaseKey":{"S":"w"}}"#));
}

#[tokio::test]
async fn an_unreadable_row_is_left_alone_and_hides_no_other() {
    let rows = format!(r#"{{"Items":[{{"leaseKey":{{"S":"p/s"}}}},{LEASE}]}}"#);
    let canned = Canned::new([canned::ok(&rows)]);
    assert_eq!(table(&canned).leases().await.unwrap().len(), 1);
}

fn described(key: &str, kind: &str, status: &str) -> canned::Answer {
    canned::ok(&format!(
        r#"{{"Table":{{"TableStatus":"{status}","KeySchema":[{{"AttributeName":"{key}","KeyType":"HASH"}}],
        "AttributeDefinitions":[{{"AttributeName":"{key}","AttributeType":"{kind}"}}]}}}}"#
    ))
}

#[tokio::test]
async fn a_table_of_another_make_is_refused_before_anything_is_written() {
    let missing = || canned::error(400, "ResourceNotFoundException");
    for (first, second) in [
        (described("pk", "S", "ACTIVE"), None),
        (described("leaseKey", "N", "ACTIVE"), None),
        (missing(), Some(described("kind", "S", "ACTIVE"))),
    ] {
        let canned = Canned::new([Some(first), second].into_iter().flatten());
        let error = table(&canned).prepare(&[]).await.unwrap_err();
        assert!(matches!(error, PrepareError::Unusable(_)), "{error}");
        assert!(canned.asked().iter().all(|asked| !asked.contains("KeySchema")));
    }
    for source in ["app", "app-fleet"] {
        let canned = Canned::default();
        let error = table(&canned).prepare(&[source.to_owned()]).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("table {source} is the source"))
        );
        assert!(canned.asked().is_empty(), "nothing was asked");
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_never_becomes_active_ends_in_an_error() {
    let creating = described("leaseKey", "S", "CREATING");
    let fleet = canned::ok(
        r#"{"Table":{"TableStatus":"ACTIVE","KeySchema":[{"AttributeName":"kind","KeyType":"HASH"},
        {"AttributeName":"id","KeyType":"RANGE"}],"AttributeDefinitions":[
        {"AttributeName":"kind","AttributeType":"S"},{"AttributeName":"id","AttributeType":"S"}]}}"#,
    );
    let looks = std::iter::repeat_n(creating.clone(), 100);
    let canned = Canned::new([creating.clone(), fleet].into_iter().chain(looks));
    let error = table(&canned).prepare(&[]).await.unwrap_err();
    assert!(error.to_string().contains("still CREATING"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn recovery_is_turned_on_once_the_backups_of_a_new_table_are_set_up_or_at_the_next_try() {
    let fleet = || {
        canned::ok(
            r#"{"Table":{"TableStatus":"ACTIVE","KeySchema":[{"AttributeName":"kind","KeyType":"HASH"},
            {"AttributeName":"id","KeyType":"RANGE"}],"AttributeDefinitions":[
            {"AttributeName":"kind","AttributeType":"S"},{"AttributeName":"id","AttributeType":"S"}]}}"#,
        )
    };
    let leases = || described("leaseKey", "S", "ACTIVE");
    let later = || canned::error(400, "ContinuousBackupsUnavailableException");
    let canned = Canned::new([
        canned::error(400, "ResourceNotFoundException"),
        fleet(),
        canned::ok("{}"),
        leases(),
        fleet(),
        later(),
        later(),
        canned::error(400, "AccessDeniedException"),
        // The next try.
        leases(),
        fleet(),
        leases(),
        fleet(),
        later(),
        canned::ok("{}"),
        // And one that has nothing more to do.
        leases(),
        fleet(),
        leases(),
        fleet(),
    ]);
    let tables = StateTables {
        missing: Missing::Create(NewTables {
            point_in_time_recovery: true,
            ..NewTables::default()
        }),
        ..StateTables::of("app")
    };
    let table = DynamoDbTable::new(Client::new(&canned.config()), tables, Arc::new(SystemClock));
    let error = table.prepare(&[]).await.unwrap_err();
    assert!(
        matches!(error, PrepareError::Table(TableError::Refused(_))),
        "{error}"
    );
    table.prepare(&[]).await.unwrap();
    table.prepare(&[]).await.unwrap();
    let asked = canned.asked();
    assert_eq!(asked.len(), 18, "{asked:#?}");
    let recovery = |asked: &&String| asked.contains(r#""PointInTimeRecoveryEnabled":true"#);
    assert_eq!(asked.iter().filter(recovery).count(), 5);
}
