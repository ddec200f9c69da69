/*
 * errors.h
 *		From the domain's refusals to the server's errors.
 */
#ifndef BANK_SQL_ERRORS_H
#define BANK_SQL_ERRORS_H

#include "adapters/pg_compat.h"
#include "domain/error.h"

struct Node;

pg_noreturn extern void bank_ereport(const BankError *error);
extern const char *bank_error_text(const char *text);
extern void bank_errsave(struct Node *context, const BankError *error);

#endif							/* BANK_SQL_ERRORS_H */
