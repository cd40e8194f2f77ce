//! `usage`: what is counted against quotas, by ticket and by organisation.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_counts_what_quotas_count_and_sums_by_organisation() {
    let fixture = Fixture::with(|settings| (settings.share_bytes, settings.names_per_share) = (4_000_000, 100));
    let app = fixture.open().await;
    let (one, two) = (customer(&app, "XT-1").await, customer(&app, "XT-2").await);
    app.tickets().add_organisation(word("OTHER"), "Other".to_owned(), None).await.unwrap();
    let new = NewTicket { organisation: word("OTHER"), ..new_ticket("XT-3") };
    app.tickets().open_ticket(new).await.unwrap();
    put(&one, "a", &pattern(1_000_000, 1)).await;
    put(&one, "a", &pattern(1_000_000, 2)).await;
    put(&two, "b", &pattern(3_000, 3)).await;
    app.tickets().set_status(&word("XT-2"), TicketStatus::Closed).await.unwrap();

    let all = app.tickets().usage(&UsageFilter::default()).await.unwrap();
    let of = |usage: &Usage| -> Vec<(String, u64, u64, u64, u64)> {
        let line = |t: &TicketUsage| (t.reference.clone(), t.artifacts, t.bytes, t.bytes_percent, t.names);
        usage.tickets.iter().map(line).collect()
    };
    // Both versions count; `from-support` is a name.
    let expected = [
        ("XT-1".to_owned(), 1, 2_000_000, 50, 2),
        ("XT-2".to_owned(), 1, 3_000, 0, 2),
        ("XT-3".to_owned(), 0, 0, 0, 1),
    ];
    assert_eq!(of(&all), expected);
    let sums = |usage: &Usage| -> Vec<(String, u64, u64, u64, u64)> {
        let sum = |s: &OrganisationUsage| (s.organisation.clone(), s.tickets, s.artifacts, s.bytes, s.names);
        usage.organisations.iter().map(sum).collect()
    };
    assert_eq!(sums(&all), [("ACME".to_owned(), 2, 2, 2_003_000, 4), ("OTHER".to_owned(), 1, 0, 0, 1)]);
    assert_eq!((all.bytes_most, all.names_most), (4_000_000, 100));
    for (filter, wanted) in [
        (UsageFilter { ticket: Some(word("XT-2")), ..UsageFilter::default() }, &expected[1..2]),
        (UsageFilter { organisation: Some(word("OTHER")), ..UsageFilter::default() }, &expected[2..]),
        (UsageFilter { status: Some(TicketStatus::Closed), ..UsageFilter::default() }, &expected[1..2]),
    ] {
        assert_eq!(of(&app.tickets().usage(&filter).await.unwrap()), wanted, "{filter:?}");
    }
    let unknown = UsageFilter { ticket: Some(word("XT-9")), ..UsageFilter::default() };
    assert!(app.tickets().usage(&unknown).await.unwrap_err().to_string().contains("no ticket XT-9"));
}
