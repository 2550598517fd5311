export interface Character {
  id: string;
  name: string;
  description: string;
  greeting: string;
}
