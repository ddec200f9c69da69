/*
 * refusal_log.h
 *		A line in the server's log for what was refused, which no rollback takes back.
 */
#ifndef BANK_SQL_REFUSAL_LOG_H
#define BANK_SQL_REFUSAL_LOG_H

#include "domain/error.h"

extern void bank_refusal_log_init(void);
extern void bank_log_refusal(const BankError *error);

#endif							/* BANK_SQL_REFUSAL_LOG_H */
