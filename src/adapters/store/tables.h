/*
 * tables.h
 *		Column numbers of the tables in schema bank, as created by sql/events.sql,
 *		sql/accounts.sql, sql/holds.sql, sql/transfers.sql and sql/approvals.sql. Columns are
 *		only ever added at the end.
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
	Anum_event_held,
	Anum_event_peer_held,
	Anum_event_expires_at,
	Anum_event_hold_id,
	Anum_event_limits_before,
	Anum_event_actor_id,
	Natts_event = Anum_event_actor_id
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
	Anum_account_next_expiry,
	Anum_account_limits_version,
	Natts_account = Anum_account_limits_version
};

enum
{
	Anum_hold_hold_id = 1,
	Anum_hold_account_id,
	Anum_hold_amount,
	Anum_hold_captured,
	Anum_hold_expires_at,
	Anum_hold_created_at,
	Anum_hold_created_version,
	Anum_hold_created_position,
	Anum_hold_resolved_at,
	Anum_hold_resolved_version,
	Anum_hold_resolved_position,
	Anum_hold_currency,
	Anum_hold_status,
	Natts_hold = Anum_hold_status
};

enum
{
	Anum_transfer_transfer_id = 1,
	Anum_transfer_version,
	Anum_transfer_position,
	Anum_transfer_recorded_at,
	Anum_transfer_created_at,
	Anum_transfer_amount,
	Anum_transfer_captured,
	Anum_transfer_state,
	Anum_transfer_currency,
	Anum_transfer_participant,
	Anum_transfer_house_account,
	Anum_transfer_destination,
	Anum_transfer_code,
	Anum_transfer_reason,
	Anum_transfer_account_id,
	Anum_transfer_deadline,
	Natts_transfer = Anum_transfer_deadline
};

enum
{
	Anum_approval_request_id = 1,
	Anum_approval_version,
	Anum_approval_position,
	Anum_approval_recorded_at,
	Anum_approval_created_at,
	Anum_approval_expires_at,
	Anum_approval_amount,
	Anum_approval_state,
	Anum_approval_currency,
	Anum_approval_account_id,
	Natts_approval = Anum_approval_account_id
};

enum
{
	Anum_threshold_currency = 1,
	Anum_threshold_threshold,
	Anum_threshold_expires_in
};

#endif							/* BANK_STORE_TABLES_H */
