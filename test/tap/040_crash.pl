# Crashes under load: what was acknowledged is there, once; what was not is there once or not at all,
# and asking again with the same idempotency key makes it once.
#
# Clients are psql processes, each with a long script of commands with keys; what psql prints after
# the server's answer to the commit is the acknowledgement. The server is stopped the hard way, or
# one of its processes is killed, which makes it restart itself.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $accounts = 20;
my $clients = 8;
my $node = ledger_node('crash', conf => "restart_after_crash = on\nsynchronous_commit = on\n");

create_ledger($node, 'postgres');
add_functions($node, 'postgres');
open_accounts($node, 'postgres', 1, $accounts, '1000000.00 HTG');

# Effect of each key: list of [account, minor units]; an account opened has none.
my %effects;
my %acknowledged;

# The script of a client in a round: all it may get done. Keys are unique over the whole test.
sub script
{
	my ($round, $client) = @_;
	my $script = '';

	foreach my $n (1 .. 3000)
	{
		my $key = "r$round c$client n$n";
		my $from = 1 + int(rand($accounts));
		my $to = 1 + ($from - 1 + 1 + int(rand($accounts - 1))) % $accounts;
		my $minor = 1 + int(rand(1000));
		my $money = sprintf("'%d.%02d HTG'", $minor / 100, $minor % 100);
		my $kind = rand();

		if ($kind < 0.4)
		{
			$effects{$key} = [ [ $from, -$minor ], [ $to, $minor ] ];
			$script .= "SELECT '$key' FROM bank_transfer(account($from), account($to), $money,
			    idempotency_key => '$key');\n";
		}
		elsif ($kind < 0.6)
		{
			$effects{$key} = [ [ $to, $minor ] ];
			$script .= "SELECT '$key' FROM bank_deposit(account($to), $money, idempotency_key => '$key');\n";
		}
		elsif ($kind < 0.8)
		{
			$effects{$key} = [ [ $from, -$minor ] ];
			$script .=
			  "SELECT '$key' FROM bank_withdraw(account($from), $money, idempotency_key => '$key');\n";
		}
		elsif ($kind < 0.9)
		{
			$effects{$key} = [];
			$script .=
			  "SELECT '$key' FROM bank_create_account('00000000-0000-4000-8000-000000000002', 'EPARGNE',
			    'HTG', idempotency_key => '$key');\n";
		}
		else
		{
			# two commands of one transaction, accounts in order so that no circle can arise
			my ($low, $high) = sort { $a <=> $b } ($from, $to);

			$effects{"$key a"} = [ [ $low, $minor ] ];
			$effects{"$key b"} = [ [ $high, -$minor ] ];
			$script .=
				"BEGIN;\n"
			  . "SELECT FROM bank_deposit(account($low), $money, idempotency_key => '$key a') \\g /dev/null\n"
			  . "SELECT FROM bank_withdraw(account($high), $money,
			    idempotency_key => '$key b') \\g /dev/null\n"
			  . "COMMIT;\n\\echo $key a\n\\echo $key b\n";
		}
	}
	return $script;
}

# Start a client; returns its process id and the file it writes acknowledgements to.
sub start_client
{
	my ($name, $script) = @_;
	my $input = write_file("$name.sql", $script);
	my $output = write_file("$name.out", '');
	my $pid = fork();

	die "could not fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		open(STDOUT, '>', $output)       or POSIX::_exit(125);
		open(STDERR, '>', "$output.err") or POSIX::_exit(125);
		exec('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $input)
		  or POSIX::_exit(126);
	}
	return ($pid, $output);
}

# Process id of some client's server process that is at work.
sub victim
{
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE application_name = 'crash-client' AND state <> 'idle' LIMIT 1"
	  )
	  || $node->safe_psql('postgres',
		"SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'crash-client'");
}

# Balances that follow from the keys the ledger has.
sub expected_balances
{
	my %minor = map { $_ => 100_000_000 } (1 .. $accounts);

	foreach
	  my $key (split(/\n/, $node->safe_psql('postgres', 'SELECT idempotency_key FROM bank.idempotency_keys')))
	{
		$minor{ $_->[0] } += $_->[1] foreach @{ $effects{$key} };
	}
	return join(' ', map { sprintf('%d.%02d', $minor{$_} / 100, $minor{$_} % 100) } (1 .. $accounts));
}

sub balances
{
	return $node->safe_psql(
		'postgres',
		"SELECT string_agg(balance::text, ' ' ORDER BY account_id) FROM bank_accounts
		  WHERE account_id <= account($accounts)"
	);
}

# Names of the rounds and what happens to the server in each.
my @rounds = (
	[ 'immediate stop' => sub { $node->stop('immediate') } ],
	[ 'kill -9 of a backend' => sub { kill 9, victim() } ],
	[
		'immediate stop right after a checkpoint' => sub {
			$node->safe_psql('postgres', 'CHECKPOINT');
			$node->stop('immediate');
		}
	],
	[
		'kill -9 of the checkpointer' => sub {
			kill 9,
			  $node->safe_psql('postgres',
				"SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
		}
	]);

srand(20240229);
$ENV{PGAPPNAME} = 'crash-client';
foreach my $round (0 .. $#rounds)
{
	my ($name, $strike) = @{ $rounds[$round] };
	my %scripts = map { $_ => script($round, $_) } (1 .. $clients);
	my %running;
	my %output;

	foreach my $client (1 .. $clients)
	{
		my ($pid, $file) = start_client("r${round}c$client", $scripts{$client});

		$running{$pid} = 1;
		$output{$client} = $file;
	}

	# let them get into it
	my $before = keys %acknowledged;
	$node->poll_query_until('postgres', "SELECT count(*) > $before + 1500 FROM bank.idempotency_keys")
	  or die 'the clients do nothing';
	local $ENV{PGAPPNAME} = 'striker';
	$strike->();
	waitpid($_, 0) foreach keys %running;

	if ($name =~ /^kill/)
	{
		$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()')
		  or die 'the server does not come back';
	}
	else
	{
		$node->start;
	}

	my $new = 0;
	my $finished = 0;
	foreach my $client (1 .. $clients)
	{
		my @keys = split(/\n/, slurp_file($output{$client}));

		$finished++ if @keys >= 3000;
		$new += @keys;
		$acknowledged{$_} = 1 foreach @keys;
	}
	cmp_ok($new, '>', 500, "$name: commands were acknowledged");
	is($finished, 0, "$name: it struck before any client was done");

	my %there = map { $_ => 1 }
	  split(/\n/, $node->safe_psql('postgres', 'SELECT idempotency_key FROM bank.idempotency_keys'));
	is(join(', ', grep { !$there{$_} } sort keys %acknowledged),
		'', "$name: every acknowledged command is there");
	cmp_ok(
		scalar(keys %there) - scalar(keys %acknowledged),
		'<=',
		2 * $clients,
		"$name: at most one more of each client");
	ledger_ok($node, 'postgres', $name);
	is(balances(), expected_balances(), "$name: with its effect, once");

	# Each client goes on from one command before the one that failed: that one is replayed, the
	# one that failed is done or replayed, the rest is new.
	my $replayed = 0;
	my $failed = '';
	foreach my $client (1 .. $clients)
	{
		my $done = () = slurp_file($output{$client}) =~ /^r\d+ c\d+ n\d+( a)?$/mg;
		my @commands = split(/\n(?=BEGIN;|SELECT ')/, $scripts{$client});
		my $first = $done > 0 ? $done - 1 : 0;
		my $again = join("\n", @commands[ $first .. $first + 20 ]) . "\n";

		my ($status, $stdout, $stderr) = $node->psql('postgres', $again);
		$failed .= $stderr if $status != 0;
		my @keys = split(/\n/, $stdout);
		$replayed += grep { $there{$_} } @keys;
		$acknowledged{$_} = 1 foreach @keys;
	}
	is($failed, '', "$name: asking again is answered");
	cmp_ok($replayed, '>=', $clients, "$name: also what had been done before");
	is(balances(), expected_balances(), "$name: and has one effect");
	ledger_ok($node, 'postgres', "$name, asked again");
}
is(errors_logged($node, 0) =~ /XX\d\d\d/ ? errors_logged($node, 0) : '', '', 'no internal error was logged');

$node->stop;
done_testing();
