/*
 * progress.h
 *		How far a long run has come, as pg_stat_progress_* shows it for the server's
 *		own commands.
 */
#ifndef BANK_STORE_PROGRESS_H
#define BANK_STORE_PROGRESS_H

#include "c.h"

typedef enum BankProgressCommand
{
	BANK_PROGRESS_VERIFY = 1,
	BANK_PROGRESS_REBUILD
} BankProgressCommand;

typedef enum BankProgressPhase
{
	BANK_PHASE_LOCKING = 1,
	BANK_PHASE_READING_EVENTS,
	BANK_PHASE_READING_MODELS,
	BANK_PHASE_WRITING_MODELS
} BankProgressPhase;

extern void bank_progress_start(BankProgressCommand command);
extern void bank_progress_phase(BankProgressPhase phase);
extern void bank_progress_total(int64 events);
extern void bank_progress_done(int64 events);
extern void bank_progress_end(void);

#endif							/* BANK_STORE_PROGRESS_H */
