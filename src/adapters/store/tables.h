/*
 * tables.h
 *		Column numbers of the tables in schema bank, as created by sql/events.sql and
 *		sql/accounts.sql. Columns are only ever added at the end.
 */
#ifndef BANK_STORE_TABLES_H
#define BANK_STORE_TABLES_H

enum
{
	Anum_event_position = 1,
	Anum_event_version,
	Anum_event_peer_version,
	Anum_event_amount,
	Anum_event_balance,
	Anum_event_peer_balance,
	Anum_event_recorded_at,
	Anum_event_transaction_id,
	Anum_event_event_id,
	Anum_event_aggregate_id,
	Anum_event_peer_id,
	Anum_event_event_type,
	Anum_event_currency,
	Anum_event_occurred_at,
	Anum_event_data,
	Anum_event_metadata,
	Natts_event = Anum_event_metadata
};

enum
{
	Anum_account_account_id = 1,
	Anum_account_version,
	Anum_account_debits,
	Anum_account_credits,
	Anum_account_position,
	Anum_account_held,
	Anum_account_overdraft_limit,
	Anum_account_recorded_at,
	Anum_account_business_at,
	Anum_account_created_at,
	Anum_account_currency,
	Anum_account_account_type,
	Anum_account_status,
	Anum_account_balance_limit,
	Anum_account_owner_id,
	Anum_account_account_number,
	Anum_account_house_code,
	Anum_account_stripe,
	Anum_account_house_account_id,
	Natts_account = Anum_account_house_account_id
};

#endif							/* BANK_STORE_TABLES_H */
