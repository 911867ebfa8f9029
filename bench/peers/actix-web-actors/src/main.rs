//! actix-web-actors: an actor with a context for each WebSocket; a broker actor knows the subscribers.

use actix::prelude::*;
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;
use bytestring::ByteString;

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Subscribe,
    Publish,
    Echo,
}

#[derive(Clone, Message)]
#[rtype(result = "()")]
struct Event(ByteString);

#[derive(Message)]
#[rtype(result = "()")]
struct Join(Recipient<Event>);

#[derive(Default)]
struct Broker {
    subscribers: Vec<Recipient<Event>>,
}

impl Actor for Broker {
    type Context = Context<Self>;
}

impl Handler<Join> for Broker {
    type Result = ();

    fn handle(&mut self, join: Join, _: &mut Self::Context) {
        self.subscribers.push(join.0);
    }
}

impl Handler<Event> for Broker {
    type Result = ();

    fn handle(&mut self, event: Event, _: &mut Self::Context) {
        self.subscribers.retain(|subscriber| subscriber.connected());
        for subscriber in &self.subscribers {
            subscriber.do_send(event.clone());
        }
    }
}

struct Socket {
    role: Role,
    broker: Addr<Broker>,
}

impl Actor for Socket {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.role == Role::Subscribe {
            let join = self.broker.send(Join(context.address().recipient()));
            let ready = join.into_actor(self).map(|_, _, context: &mut Self::Context| context.text(r#"{"op":"ready"}"#));
            context.spawn(ready);
        }
    }
}

impl Handler<Event> for Socket {
    type Result = ();

    fn handle(&mut self, event: Event, context: &mut Self::Context) {
        context.text(event.0);
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, context: &mut Self::Context) {
        match message {
            Ok(ws::Message::Text(text)) => match self.role {
                Role::Publish => self.broker.do_send(Event(text)),
                Role::Echo => context.text(text),
                Role::Subscribe => {}
            },
            Ok(ws::Message::Ping(bytes)) => context.pong(&bytes),
            Ok(ws::Message::Close(reason)) => {
                context.close(reason);
                context.stop();
            }
            Err(_) => context.stop(),
            Ok(_) => {}
        }
    }
}

async fn open(
    request: HttpRequest,
    stream: web::Payload,
    broker: web::Data<Addr<Broker>>,
) -> Result<HttpResponse, Error> {
    let role = match request.path() {
        "/subscribe" => Role::Subscribe,
        "/publish" => Role::Publish,
        _ => Role::Echo,
    };
    ws::start(Socket { role, broker: broker.get_ref().clone() }, &request, stream)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8080);
    let broker = web::Data::new(Broker::default().start());
    HttpServer::new(move || App::new().app_data(broker.clone()).default_service(web::get().to(open)))
        .backlog(4096)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
