/*
 * clock.h
 *		Port: time and identifiers.
 *
 * Implemented by adapters/store/clock.c.
 */
#ifndef BANK_PORTS_CLOCK_H
#define BANK_PORTS_CLOCK_H

#include "domain/uuid.h"

/* The wall clock, in microseconds since 2000-01-01 00:00 UTC. */
extern int64_t bank_clock_now(void);

/* A fresh version 7 UUID; raises when the system has no randomness to give. */
extern void bank_clock_new_uuid(BankUuid *uuid);

#endif							/* BANK_PORTS_CLOCK_H */
