%% One process per WebSocket, hibernating whenever it has nothing to do; subscribers are a process group.
-module(bench).
-export([start/1]).
-export([init/2, websocket_init/1, websocket_handle/2, websocket_info/2]).

start(Port) ->
    {ok, _} = application:ensure_all_started(cowboy),
    {ok, _} = pg:start(bench),
    Paths = [{"/" ++ atom_to_list(Role), ?MODULE, Role} || Role <- [subscribe, publish, echo]],
    Listen = #{
        socket_opts => [{ip, {127, 0, 0, 1}}, {port, Port}, {backlog, 4096}, {nodelay, true}],
        max_connections => infinity,
        num_acceptors => 10
    },
    Options = #{env => #{dispatch => cowboy_router:compile([{'_', Paths}])}},
    {ok, _} = cowboy:start_clear(bench, Listen, Options).

init(Request, Role) ->
    {cowboy_websocket, Request, Role, #{idle_timeout => infinity, max_frame_size => 65536}}.

websocket_init(subscribe = Role) ->
    ok = pg:join(bench, subscribers, self()),
    {[{text, <<"{\"op\":\"ready\"}">>}], Role, hibernate};
websocket_init(Role) ->
    {[], Role, hibernate}.

websocket_handle({text, Text}, publish = Role) ->
    [Subscriber ! {event, Text} || Subscriber <- pg:get_local_members(bench, subscribers)],
    {[], Role, hibernate};
websocket_handle({text, Text}, echo = Role) ->
    {[{text, Text}], Role, hibernate};
websocket_handle(_, Role) ->
    {[], Role, hibernate}.

websocket_info({event, Text}, Role) ->
    {[{text, Text}], Role, hibernate};
websocket_info(_, Role) ->
    {[], Role, hibernate}.
