//! What the port promises, written once and run against every adapter.

mod books;
mod catalogue;
mod keys;
mod limiting;
mod producing;
mod reading;
mod receipts;
mod rig;

/// Makes a test of each adapter from a function that takes a [`rig::Rig`].
macro_rules! of_each {
    ($($name:ident),+ $(,)?) => {
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::contract::rig::Kind::Redis).await;
            })+
        }

        mod cluster {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::contract::rig::Kind::Cluster).await;
            })+
        }

        #[cfg(feature = "fred")]
        mod fred {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::contract::rig::Kind::Fred).await;
            })+
        }

        #[cfg(feature = "fred")]
        mod fred_cluster {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::contract::rig::Kind::FredCluster).await;
            })+
        }

        mod local {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::contract::rig::Kind::Local).await;
            })+
        }
    };
}
use of_each;
