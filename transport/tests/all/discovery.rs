//! Two nodes on one machine find each other by multicast DNS. Needs multicast on the loopback interface, which some
//! containers lack: run it by name where it should work.

use std::time::Duration;

use crate::support::{endpoint, identity};
use tombolo_transport::discovery::Discovery;

#[tokio::test]
#[ignore = "needs multicast on the loopback interface"]
async fn two_nodes_on_one_machine_find_each_other() {
    let ((one, at_one), (two, at_two)) = (endpoint(1), endpoint(2));
    let mut hears_two = Discovery::start(one.node_id(), at_one);
    let mut hears_one = Discovery::start(two.node_id(), at_two);
    assert!(hears_two.is_on() && hears_one.is_on());
    let both = async { tokio::join!(hears_two.next(), hears_one.next()) };
    let (two_found, one_found) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("heard");
    assert_eq!((two_found.node, two_found.addresses), (identity(2).node_id(), vec![at_two]));
    assert_eq!((one_found.node, one_found.addresses), (identity(1).node_id(), vec![at_one]));
}
