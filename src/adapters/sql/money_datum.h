/*
 * money_datum.h
 *		bank_money as a Datum: a pointer to 16 bytes, aligned as a double.
 *
 * Values are palloc'd in the current context and never changed once returned.
 */
#ifndef BANK_SQL_MONEY_DATUM_H
#define BANK_SQL_MONEY_DATUM_H

#include "domain/money.h"
#include "fmgr.h"

StaticAssertDecl(sizeof(BankMoney) == 16, "bank_money is declared with INTERNALLENGTH = 16");

static inline BankMoney *
DatumGetBankMoney(Datum datum)
{
	return (BankMoney *) DatumGetPointer(datum);
}

static inline Datum
BankMoneyGetDatum(const BankMoney *money)
{
	return PointerGetDatum(money);
}

#define PG_GETARG_BANK_MONEY(n) DatumGetBankMoney(PG_GETARG_DATUM(n))
#define PG_RETURN_BANK_MONEY(money) return BankMoneyGetDatum(money)

#endif							/* BANK_SQL_MONEY_DATUM_H */
