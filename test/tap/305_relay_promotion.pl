# A standby takes over: it delivers what the primary had not delivered, from the place that was replicated.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;

my $conf = "shared_preload_libraries = 'banking'\nbanking.allow_private_endpoints = on\n";
my $primary = ledger_node('primary', streaming => 1, conf => $conf);
my $receiver = Receiver->start('promotion');

create_ledger($primary, 'postgres');
add_functions($primary, 'postgres');
open_accounts($primary, 'postgres', 1, 10, '1000.00 HTG');
my $start = $primary->safe_psql('postgres', 'SELECT max(position) FROM bank_events');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', "SELECT FROM bank_subscribe('hook', '${\$receiver->url('/hook')}', retry_delay => '100 ms',
  breaker_timeout => '1 second', retry_max_delay => '1 second')");
$primary->safe_psql('postgres', "SELECT count(bank_deposit(account(n), '1.00 HTG')) FROM generate_series(1, 10) AS n");
$primary->poll_query_until('postgres', 'SELECT lag_events = 0 AND delivered >= 10 FROM bank_subscriptions')
  or die 'nothing is delivered';
is($standby->safe_psql('postgres', 'SELECT state FROM bank_relay_status()'), 'standby', 'a standby does not deliver');

# what happens while the endpoint is down is left to the new primary
$receiver->rules([ [ '/hook', '*', 'status:503' ] ]);
$primary->safe_psql('postgres', "SELECT count(bank_deposit(account(n), '2.00 HTG')) FROM generate_series(1, 10) AS n");
$primary->poll_query_until('postgres', "SELECT breaker_state = 'open' FROM bank_subscriptions")
  or die 'the breaker stays closed';
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
$receiver->rules([]);
$standby->promote;
$standby->poll_query_until('postgres', "SELECT count(*) = 1 FROM bank_subscriptions WHERE lag_events = 0")
  or die 'the new primary does not deliver';
$standby->safe_psql('postgres', "SELECT bank_deposit(account(1), '3.00 HTG')");
$receiver->wait_for(sub { grep { ($_->{data}{amount} // '') eq '3.00' } $receiver->events('/hook') }, 30, 'the last event');

my (%times, %version, @disorder);
foreach my $event (map { @{ $_->{events} } } grep { $_->{answer} =~ /^2/ } $receiver->requests('/hook'))
{
	my $data = $event->{data};

	next if $times{ $event->{id} }++ || !defined $data->{amount};
	push @disorder, $data->{account_id}
	  if defined $version{ $data->{account_id} } && $data->{version} != $version{ $data->{account_id} } + 1;
	$version{ $data->{account_id} } = $data->{version};
}
is(scalar(keys %times),
	$standby->safe_psql('postgres', "SELECT count(*) FROM bank_events WHERE position > $start"),
	'everything arrives');
is_deeply(\@disorder, [], 'in the order of each account');
is_deeply([ grep { $times{$_} > 1 } keys %times ], [], 'nothing arrives twice');

$standby->stop;
$receiver->stop;
done_testing();
