//! Deregistration: requests in flight go on, new ones go elsewhere, and in the end what is left is cut.

use std::cell::Cell;

use super::*;

#[tokio::test]
async fn requests_in_flight_finish_while_new_ones_go_elsewhere() {
    let stand = Stand::quick().await;
    let (old, new) = (Pod::start("old").await, Pod::start("new").await);
    let target = stand.with_stable(&old).await;
    let (slow, half, ()) = tokio::join!(stand.get("/slow"), stand.get("/half"), async {
        until(|| old.served() == 2).await;
        stand.shop.deregister(&target);
        stand.with_stable(&new).await;
        let address = old.address.to_string();
        until(|| stand.data_plane.may_send_to(&stand.shop.stable)[0].targets != [address.clone()]).await;
        for _ in 0..20 {
            assert_eq!(stand.get("/").await.text(), "new");
        }
        old.release();
    });
    assert_eq!((slow.status, slow.text()), (StatusCode::OK, "old"));
    assert_eq!((half.status, half.text()), (StatusCode::OK, "first second"));
    assert_eq!(old.served(), 2);
    assert_eq!(stand.ended(Outcome::Forwarded, Some(200)), 22);
}

#[tokio::test]
async fn what_is_in_flight_at_the_end_of_the_delay_is_cut() {
    let stand = Stand::quick().await;
    stand.shop.drains_for(1);
    let pod = Pod::start("a").await;
    let target = stand.with_stable(&pod).await;
    let deregistered = Cell::new(None);
    let (slow, half, ()) = tokio::join!(stand.get("/slow"), stand.get("/half"), async {
        until(|| pod.served() == 2).await;
        deregistered.set(Some(stand.shop.control_plane.now()));
        stand.shop.deregister(&target);
        until(|| stand.data_plane.may_send_to(&stand.shop.stable)[0].targets.is_empty()).await;
        assert_eq!(stand.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    });
    assert!(stand.shop.control_plane.now() >= deregistered.get().expect("it was") + Duration::from_secs(1));
    assert_eq!(slow.status, StatusCode::BAD_GATEWAY);
    assert_eq!((half.status, half.body), (StatusCode::OK, None));
    assert_eq!(stand.ended(Outcome::Drained, Some(502)), 1);
    assert_eq!(stand.ended(Outcome::BrokenOff, Some(200)), 1);
}
