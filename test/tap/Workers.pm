# Workers.pm
#
# What the TAP tests of the relay's processes share beside Deliveries.pm: which databases have a worker, and
# ledgers small enough to have many of them.

package Workers;

use strict;
use warnings;

use Exporter 'import';
use Deliveries;
use Ledger;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(arrives deposit event_ids relay_ledger relay_state wait_for_state workers);

# The state of a database's worker, whatever bank.relay_stopped says of it.
sub relay_state
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, 'SELECT state FROM bank.relay_status()');
}

# Wait until the worker is in this state, as relay_state has it.
sub wait_for_state
{
	my ($node, $database, $state) = @_;

	wait_until(
		$node, $database,
		"the worker of $database: $state",
		"SELECT state = '$state' FROM bank.relay_status()");
	return;
}

# The databases that have a worker just now, each as often as it has one.
sub workers
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		"SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_stat_activity
		  WHERE backend_type = 'banking relay'");
}

# A database with a ledger, the tests' account 1, and the receiver subscribed to its events at a path that
# is the name of the database; its worker runs.
sub relay_ledger
{
	my ($node, $database, $receiver) = @_;

	create_ledger($node, $database);
	open_accounts($node, $database, 1, 1);
	subscribe($node, $database, 'hook', $receiver->url("/$database"));
	wait_for_worker($node, $database);
	return;
}

# Deposit 1 HTG on the tests' account 1; returns the identifier of the event.
sub deposit
{
	my ($node, $database) = @_;

	return $node->safe_psql($database, "SELECT event_id FROM bank_deposit('" . account_id(1) . "', '1 HTG')");
}

# The identifiers of the events that have arrived at a path.
sub event_ids
{
	my ($receiver, $path) = @_;
	return map { $_->{id} } $receiver->events($path);
}

# A test: these events arrive at a path, in whatever order.
sub arrives
{
	my ($receiver, $path, $name, @ids) = @_;
	my %missing = map { $_ => 1 } @ids;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $arrived = eval
	{
		$receiver->wait_for(
			sub {
				delete @missing{ event_ids($receiver, $path) };
				return !%missing;
			},
			$PostgreSQL::Test::Utils::timeout_default);
	};
	return ok($arrived, $name);
}

1;
