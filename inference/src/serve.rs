//! Generations for other nodes, and asking other nodes: the two ends of `/starling/generate/3`.
//!
//! A generation goes on when whoever asked is gone: another gateway takes it up, and it ends by itself. Its answer is written by this node
//! when whoever asked says so, or when nobody is left to say it (see [`standing`]). A node that was given up meanwhile, frozen or out of
//! reach, is never told to: another one writes what that one made.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crdt::{Store, records::session::Message};
use keys::NodeId;
use mesh::{
    Mesh, OpenError, Protocol, Stream,
    frame::{FrameError, read_frame, within, write_frame},
};
use tokio::{
    io::{AsyncRead, AsyncWriteExt},
    sync::{broadcast, mpsc},
    time::{Interval, MissedTickBehavior},
};

use crate::{
    admission::{Asked, Class, Place},
    desk::{AnswerEvent, AnswerNotice},
    engine::GenerationError,
    generate,
    handoff::Handoffs,
    keeper::{Engines, ModelGuard},
    limits::{
        ASK_OPEN_TIMEOUT, GENERATE_FRAME_BYTES_MAX, GIVEN_UP_LOOKS, PROGRESS_EVERY, SILENCE_MAX, STANDING_EVERY,
        WRITE_TIMEOUT,
    },
    live::{
        self, End, Heard, Lease, Live, Lives, Sayer, relay,
        standing::{Facts, Standing, Verdict},
    },
    swarm::{Frames, FromAsker, FromGenerator, Request, pace::Pace},
};

/// Reports that wait for the network; who reads them slowly costs nobody anything.
const REPORT_QUEUE: usize = 64;

/// Everything that generations of this node need.
#[derive(Clone)]
pub(crate) struct Generator {
    pub(crate) engines: Engines,
    pub(crate) store: Store,
    pub(crate) mesh: Mesh,
    pub(crate) lives: Lives,
    pub(crate) handoffs: Handoffs,
    /// Where what others asked for is told to whoever is here.
    pub(crate) notices: broadcast::Sender<AnswerNotice>,
}

impl Generator {
    /// Begins to generate, or finds what is under way already.
    fn begin(&self, request: Request) -> Live {
        if request.said.is_some() {
            self.lives.forget_finished(request.answer);
        }
        match self.lives.generate(request.lease(), request.epoch) {
            Ok(live) => {
                tokio::spawn(self.clone().generate(request, live.clone()));
                live
            }
            Err(live) => live,
        }
    }

    /// Answers a question of this node.
    pub(crate) async fn answer_here(
        &self,
        request: Request,
        report: &mpsc::Sender<FromGenerator>,
        mut orders: mpsc::Receiver<FromAsker>,
    ) {
        let heard = Heard::of(&request);
        let live = self.begin(request);
        let asking = live.asked_by(self.mesh.node());
        let obey = async {
            while let Some(order) = orders.recv().await {
                live.obey(&order);
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        tokio::select! {
            () = relay(&live, heard, report) => drop(asking),
            never = obey => match never {},
        }
    }

    async fn generate(self, request: Request, live: Live) {
        // What this node asked for itself its desk tells.
        let is_foreign = request.gateway != self.mesh.node();
        if is_foreign {
            self.tell(&live, AnswerEvent::Started(live.clone()));
        }
        let end = self.make(&request, &live).await.unwrap_or_else(End::Failed);
        let finished = match &end {
            End::Finished { message, .. } => Some(Arc::clone(message)),
            End::Failed(_) => None,
        };
        live.end(end);
        self.lives.generated(&live);
        if is_foreign && let Some(message) = finished {
            self.tell(&live, AnswerEvent::Finished(message));
        }
    }

    fn tell(&self, live: &Live, event: AnswerEvent) {
        let Lease { session, account, .. } = *live.lease();
        // Nobody listening is usual.
        let _ = self.notices.send(AnswerNotice {
            session,
            account,
            event,
        });
    }

    /// From the question to the written answer, as long as somebody wants it.
    async fn make(&self, request: &Request, live: &Live) -> Result<End, GenerationError> {
        let mut standing = Standing::default();
        let mut looks = tokio::time::interval(STANDING_EVERY);
        // Looks that were not made do not count.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let node = self.mesh.node();
        let tell = |report: FromGenerator| {
            live.take(&report, Some(request.start()), |run, model| Sayer {
                run,
                node: Some(node),
                model: model.into(),
                choice: None,
            });
        };
        let message = {
            let generating = self.generate_in_turn(request, live, &tell);
            tokio::pin!(generating);
            loop {
                tokio::select! {
                    biased;
                    () = live.given_up() => return Err(GenerationError::GivenUp),
                    made = &mut generating => break made?,
                    _ = looks.tick() => if standing.look(self.facts(request, live)) == Verdict::GivenUp {
                        return Err(GenerationError::GivenUp);
                    }
                }
            }
        };
        self.hand_over(request, live, message, (standing, looks)).await
    }

    /// Waits for the model and for a place, and generates in it.
    async fn generate_in_turn(
        &self,
        request: &Request,
        live: &Live,
        tell: &(impl Fn(FromGenerator) + Sync),
    ) -> Result<Message, GenerationError> {
        let (model, place) = tokio::select! {
            biased;
            // Who stops waiting leaves the queue at once.
            () = live.stopped() => return generate::unsaid(&self.engines, request),
            turn = alive(live, self.turn(request, live)) => turn?,
        };
        let made = generate::run(model.engine(), request, tell, live.stopped()).await;
        if let Err(error) = &made {
            model.note_failure(error);
        }
        drop((place, model));
        made
    }

    /// Waits for the model, and for a place under the name of the person, whichever gateway asks for them.
    async fn turn(&self, request: &Request, live: &Live) -> Result<(ModelGuard, Place), GenerationError> {
        let asked = Asked {
            account: request.account,
            class: Class::Person,
            at: request.question.at(),
        };
        let (own, mut view) = (self.mesh.node(), self.mesh.view());
        let turn = async {
            let model = self.engines.model(None).await?;
            let place = self.place_and_state(request, &model, (asked, live)).await?;
            Ok((model, place))
        };
        tokio::select! {
            biased;
            turn = turn => turn,
            // What waits here while the node stops, or is kept from working, is asked of another one.
            _ = view.wait_for(|view| !view.takes_work(&own)) => Err(GenerationError::Busy),
        }
    }

    /// Waits for a place; meanwhile comes what another node has computed.
    async fn place_and_state(
        &self,
        request: &Request,
        model: &ModelGuard,
        (asked, live): (Asked, &Live),
    ) -> Result<Place, GenerationError> {
        let place = model.engine().place(asked, |standing| live.queued(standing));
        let brought = self.bring(request, model);
        tokio::pin!(place, brought);
        tokio::select! {
            biased;
            place = &mut place => {
                let place = place?;
                brought.await;
                Ok(place)
            }
            () = &mut brought => place.await,
        }
    }

    /// Takes over what another node has computed of the conversation, where that is worth it.
    async fn bring(&self, request: &Request, model: &ModelGuard) {
        let holder = request.computed_at.filter(|holder| *holder != self.mesh.node());
        if let Some(holder) = holder {
            let generation = generate::generation(request, request.messages.clone());
            let fetch = self.handoffs.fetch(&self.mesh, model.engine(), generation, holder);
            // Boxed, for it is large and seldom there.
            Box::pin(fetch).await;
        }
    }

    /// Tells the whole answer, and writes it when it may be written.
    async fn hand_over(
        &self,
        request: &Request,
        live: &Live,
        message: Message,
        (mut standing, mut looks): (Standing, Interval),
    ) -> Result<End, GenerationError> {
        let arrives = generate::wait_for_session(&self.store, request);
        let can_record = generate::writes_answers(&self.mesh) && alive(live, arrives).await;
        let told = Arc::new(generate::signed(&message, self.mesh.node()));
        live.finish(Arc::clone(&told), can_record);
        let end = |recorded| End::Finished {
            message: told,
            recorded,
        };
        if !can_record {
            return Ok(end(false));
        }
        let mut kept_waiting = 0;
        loop {
            tokio::select! {
                biased;
                () = live.given_up() => return Err(GenerationError::GivenUp),
                () = live.permitted() => break,
                _ = looks.tick() => {
                    live.beat();
                    match standing.look(self.facts(request, live)) {
                        Verdict::GivenUp => return Err(GenerationError::GivenUp),
                        Verdict::Alone => break,
                        Verdict::Unclear => {}
                        Verdict::Asked => kept_waiting += 1,
                    }
                    // Whoever asked and does not say the word has to write it.
                    if kept_waiting >= GIVEN_UP_LOOKS {
                        return Ok(end(false));
                    }
                }
            }
        }
        // Where nobody was left to say anything, somebody may have come before.
        let is_there =
            request.said.is_none() && generate::has_answer(&self.store, request.session, request.answer).await;
        let written = is_there || alive(live, generate::record(&self.store, request, &message)).await;
        Ok(end(written))
    }

    /// Who is there of those to whom an answer matters.
    fn facts(&self, request: &Request, live: &Live) -> Facts {
        let (own, view) = (self.mesh.node(), self.mesh.view());
        let view = view.borrow();
        let is_here = |node: &NodeId| *node == own || view.links.get(node).is_some_and(|link| link.is_reachable());
        let is_asked = live.askers().iter().any(is_here);
        let is_later =
            |(_, lease, epoch): &(NodeId, Lease, u32)| lease.answer == request.answer && *epoch > live.epoch();
        Facts {
            is_asked,
            is_gateway_here: is_here(&request.gateway),
            is_superseded: !is_asked && live::leases(&view).iter().any(is_later),
        }
    }

    /// Serves generations until the mesh stops.
    pub(crate) async fn serve(self, mut streams: mpsc::Receiver<(NodeId, Stream)>) {
        while let Some((node, stream)) = streams.recv().await {
            let generator = self.clone();
            tokio::spawn(async move {
                if let Err(error) = generator.serve_one(node, stream).await {
                    tracing::debug!(node = %node.short(), %error, "a stream of an answer ended early");
                }
            });
        }
    }

    async fn serve_one(self, node: NodeId, mut stream: Stream) -> Result<(), FrameError> {
        let frames = Frames::on(stream.version());
        let frame = within(SILENCE_MAX, read_frame(&mut stream, GENERATE_FRAME_BYTES_MAX)).await?;
        let (live, heard, asking) = match frame.as_deref().and_then(|frame| frames.read_question(frame)) {
            // Whoever asks may not have heard yet that this node drains or is kept from working.
            Some(FromAsker::Generate(_)) if !self.mesh.view().borrow().takes_work(&self.mesh.node()) => {
                return decline(frames, stream).await;
            }
            Some(FromAsker::Generate(request)) => {
                let heard = Heard::of(&request);
                let live = self.begin(*request);
                let asking = live.asked_by(node);
                (Some(live), heard, Some(asking))
            }
            Some(FromAsker::Follow { answer, bytes }) => (self.lives.get(answer), Heard::bytes(bytes), None),
            Some(FromAsker::Stop | FromAsker::Record | FromAsker::GenerateFrom(..)) | None => {
                return Err(FrameError::Io(std::io::Error::other("not a question")));
            }
        };
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (report, mut reports) = mpsc::channel(REPORT_QUEUE);
        // A stream that breaks is no stop.
        let hear = async {
            while let (Ok(Some(frame)), Some(live)) = (read_frame(&mut reader, GENERATE_FRAME_BYTES_MAX).await, &live) {
                match frames.read(&frame) {
                    // That it may be written says whoever asked for it, nobody who follows.
                    Some(FromAsker::Record) if asking.is_none() => {}
                    Some(order) => live.obey(&order),
                    None => break,
                }
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        let write = async {
            while let Some(message) = reports.recv().await {
                // A reader that does not read is given up; the generation goes on.
                let frame = frames.report(&message);
                within(
                    WRITE_TIMEOUT,
                    write_frame(&mut writer, &frame, GENERATE_FRAME_BYTES_MAX),
                )
                .await?;
            }
            writer.shutdown().await.map_err(FrameError::Io)
        };
        let tell = async {
            match &live {
                Some(live) => relay(live, heard, &report).await,
                None => drop(report.send(FromGenerator::Unknown).await),
            }
            drop(report);
        };
        tokio::pin!(write);
        tokio::select! {
            // The last report is still to be written.
            () = tell => write.await,
            result = &mut write => result,
            never = hear => match never {},
        }
    }
}

/// Says at once that somebody else must be asked.
async fn decline(frames: Frames, mut stream: Stream) -> Result<(), FrameError> {
    let frame = frames.report(&FromGenerator::Failed(GenerationError::Busy));
    let said = async {
        write_frame(&mut stream, &frame, GENERATE_FRAME_BYTES_MAX).await?;
        stream.shutdown().await.map_err(FrameError::Io)?;
        // Until the asker has read it: a stream that is dropped before takes the answer with it.
        read_frame(&mut stream, GENERATE_FRAME_BYTES_MAX).await.map(drop)
    };
    within(WRITE_TIMEOUT, said).await
}

/// Says that this node is alive while something takes its time.
async fn alive<T>(live: &Live, work: impl Future<Output = T>) -> T {
    let beat = async {
        let mut beat = tokio::time::interval(PROGRESS_EVERY);
        loop {
            beat.tick().await;
            live.beat();
        }
    };
    tokio::select! {
        done = work => done,
        never = beat => never,
    }
}

/// Why another node did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("it sent something that is no answer")]
    Malformed,
    #[error("it has been silent for longer than its pace allows")]
    Frozen,
    #[error("it does not say this answer")]
    Unknown,
}

/// Asks another node for an answer, or to hear one that it says already, and passes its reports on; ends after the last report or with an
/// error. `orders` are passed on to it.
pub(crate) async fn ask(
    mesh: &Mesh,
    node: NodeId,
    question: FromAsker,
    report: &mpsc::Sender<FromGenerator>,
    mut orders: mpsc::Receiver<FromAsker>,
) -> Result<(), AskError> {
    // A node that is gone but not yet suspect must not hold the question for long: there may be others.
    let opened = tokio::time::timeout(ASK_OPEN_TIMEOUT, mesh.open(node, Protocol::GENERATE)).await;
    let stream = opened.unwrap_or(Err(OpenError::Timeout(node)))?;
    let frames = Frames::on(stream.version());
    let (mut reader, mut writer) = tokio::io::split(stream);
    let question = frames.ask(&question);
    within(
        WRITE_TIMEOUT,
        write_frame(&mut writer, &question, GENERATE_FRAME_BYTES_MAX),
    )
    .await?;
    let (sender, mut read_so_far) = mpsc::channel(REPORT_QUEUE);
    // Reading is not cancel-safe, so it goes on by itself beside the wait for orders.
    let read = read_reports(frames, &mut reader, &sender);
    let pass_on = async {
        loop {
            tokio::select! {
                biased;
                Some(order) = orders.recv() => {
                    write_frame(&mut writer, &frames.ask(&order), GENERATE_FRAME_BYTES_MAX).await?;
                }
                message = read_so_far.recv() => {
                    let message = message.unwrap_or(Err(AskError::Malformed))?;
                    if matches!(message, FromGenerator::Unknown) {
                        return Err(AskError::Unknown);
                    }
                    let last = matches!(
                        message,
                        FromGenerator::Finished { can_record: false, .. } | FromGenerator::Recorded(_) | FromGenerator::Failed(_)
                    );
                    if report.send(message).await.is_err() || last {
                        return Ok(());
                    }
                }
            }
        }
    };
    let read_for_ever = async {
        read.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        result = pass_on => result,
        never = read_for_ever => match never {},
    }
}

/// Reads what a node reports until that breaks, or until the node is silent for longer than its pace allows.
async fn read_reports(
    frames: Frames,
    reader: &mut (impl AsyncRead + Unpin),
    reports: &mpsc::Sender<Result<FromGenerator, AskError>>,
) {
    let mut pace = Pace::new(Instant::now());
    loop {
        let until = pace.frozen_at();
        let frame = tokio::time::timeout_at(until.into(), read_frame(reader, GENERATE_FRAME_BYTES_MAX)).await;
        let now = Instant::now();
        let report = match frame {
            Ok(Ok(Some(frame))) => frames.read(&frame).ok_or(AskError::Malformed),
            Ok(Ok(None)) => Err(AskError::Malformed),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(AskError::Frozen),
        };
        pace.heard(now);
        if let Ok(FromGenerator::Accepted { beat_ms, .. }) = report {
            pace.announced(Duration::from_millis(beat_ms.into()));
        }
        let is_last = report.is_err();
        if reports.send(report).await.is_err() || is_last {
            return;
        }
    }
}
