/*
 * principal.h
 *		Port: on whose behalf a command runs.
 *
 * The server has decided already that the caller may call the function. This is about
 * the accounts: a customer may act for those of its own owner only. Implemented by
 * adapters/store/principal.c.
 */
#ifndef BANK_PORTS_PRINCIPAL_H
#define BANK_PORTS_PRINCIPAL_H

#include "domain/hold.h"

/* Is the caller a customer, and not staff too? */
extern bool bank_principal_is_customer(void);

/* Whose accounts a customer may act for; false: nobody's. */
extern bool bank_principal_owner(BankUuid *owner_id);

/*
 * Does this customer's account belong to this owner? Without a lock: that never changes. Does the
 * same work whether there is such an account or not.
 */
extern bool bank_principal_owns(const BankUuid *owner_id, const BankUuid *account_id);

/*
 * Is the caller staff whose commands somebody else may have to approve? Neither a customer nor the
 * ledger's owner, who could do without asking.
 */
extern bool bank_principal_is_supervised(void);

/* Is the caller another one than who has made this request for approval? */
extern bool bank_principal_is_another(const BankUuid *request_id);

/* Was this hold made on behalf of this owner, and not by staff? */
extern bool bank_principal_made(const BankUuid *owner_id, const BankHold *hold);

#endif							/* BANK_PORTS_PRINCIPAL_H */
