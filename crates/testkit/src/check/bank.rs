//! Transfers between accounts: money is neither made nor lost, so whoever reads all accounts in one
//! snapshot finds the same total, always.
//!
//! ```text
//! a: 100  b: 100        transfer 30: a → b        a: 70  b: 130
//! a reader that finds 70 + 100 or 100 + 130 saw half of it
//! ```

use std::collections::BTreeMap;
use std::fmt;

/// All accounts, as one transaction read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub client: usize,
    pub balances: BTreeMap<u64, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BankError {
    WrongTotal { statement: Statement, total: i64, expected: i64 },
    MissingAccount { statement: Statement, account: u64 },
}

impl fmt::Display for BankError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BankError::WrongTotal { statement, total, expected } => write!(
                f,
                "client {} found {total} in all instead of {expected}: {:?}",
                statement.client, statement.balances
            ),
            BankError::MissingAccount { statement, account } => write!(
                f,
                "client {} did not find account {account}: {:?}",
                statement.client, statement.balances
            ),
        }
    }
}

/// Accounts are `0..accounts`; together they hold `expected`.
pub fn check(statements: &[Statement], accounts: u64, expected: i64) -> Vec<BankError> {
    let mut errors = Vec::new();
    for statement in statements {
        let missing = (0..accounts).find(|account| !statement.balances.contains_key(account));
        let total = statement.balances.values().sum();
        if let Some(account) = missing {
            errors.push(BankError::MissingAccount { statement: statement.clone(), account });
        } else if total != expected {
            let statement = statement.clone();
            errors.push(BankError::WrongTotal { statement, total, expected });
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_transfer_and_a_lost_account_are_found() {
        let of = |balances: &[(u64, i64)]| Statement {
            client: 1,
            balances: balances.iter().copied().collect(),
        };
        let good = of(&[(0, 70), (1, 130)]);
        let overdrawn = of(&[(0, -30), (1, 230)]);
        assert_eq!(check(&[good.clone(), overdrawn], 2, 200), []);
        let half = of(&[(0, 70), (1, 100)]);
        let lost = of(&[(0, 200)]);
        let errors = check(&[good, half, lost], 2, 200);
        assert_eq!(errors.len(), 2);
        assert!(errors[0].to_string().contains("found 170 in all instead of 200"), "{}", errors[0]);
        assert!(errors[1].to_string().contains("did not find account 1"), "{}", errors[1]);
    }
}
