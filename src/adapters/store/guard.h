/*
 * guard.h
 *		Protection of the events against being changed or dropped.
 */
#ifndef BANK_STORE_GUARD_H
#define BANK_STORE_GUARD_H

extern void bank_guard_init(void);

#endif							/* BANK_STORE_GUARD_H */
